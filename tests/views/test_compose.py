"""The merge rules for trees: what a change becomes on a main that moved under it."""

from pwfs.model.entries import Mode
from pwfs.model.paths import RepoPath
from pwfs.model.views import ConflictType
from tests.views.world import Scene


def test_unchanged_below_takes_yours() -> None:
    """What nobody else touched is as the change wrote it."""
    scene = Scene({"a": "aaa", "b": "bbb", "d/c": "ccc"})
    scene.author.write("a", "AAA")
    scene.author.delete("b")
    scene.author.write("d/new", "nnn")
    assert scene.outcome() == ({"a": "AAA", "d/c": "ccc", "d/new": "nnn"}, {})


def test_both_changed_is_merged() -> None:
    """Different places of one file merge cleanly; the same place conflicts and shows both."""
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.write("a", "xyZ")
    assert scene.outcome() == ({"a": "XyZ"}, {})
    scene = Scene({"a": "xyz"}, {"a": "1yz"})
    scene.author.write("a", "2yz")
    assert scene.outcome() == ({"a": "<1yz|2yz>"}, {"a": ConflictType.CONTENT})


def test_same_result_is_taken_once() -> None:
    """Two sides that did the same have no conflict."""
    scene = Scene({"a": "xyz"}, {"a": "new", "b": "add"})
    scene.author.write("a", "new")
    scene.author.write("b", "add")
    assert scene.outcome() == ({"a": "new", "b": "add"}, {})


def test_delete_against_modify() -> None:
    """A deletion never takes somebody's edit with it, nor an edit somebody's deletion."""
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.delete("a")
    assert scene.outcome() == ({"a": "Xyz"}, {"a": ConflictType.DELETE_MODIFY})
    scene = Scene({"a": "xyz"}, {})
    scene.author.write("a", "xyZ")
    assert scene.outcome() == ({"a": "xyZ"}, {"a": ConflictType.MODIFY_DELETE})
    scene = Scene({"a": "xyz"}, {})
    scene.author.delete("a")
    assert scene.outcome() == ({}, {})


def test_edit_follows_their_rename() -> None:
    """An edit of a file that main renamed lands in the renamed file."""
    scene = Scene({"a": "xyz"}, {"b": "Xyz"})
    scene.renames.files[RepoPath("a")] = RepoPath("b")
    scene.author.write("a", "xyZ")
    assert scene.outcome() == ({"b": "XyZ"}, {})


def test_their_edit_follows_your_rename() -> None:
    """What main did to a file reaches it under the name that the change gave it."""
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.rename("a", "b")
    assert scene.outcome() == ({"b": "Xyz"}, {})
    scene.author.write("b", "xyZ")
    assert scene.outcome() == ({"b": "XyZ"}, {})


def test_both_renamed() -> None:
    """The same new name merges; different ones are a conflict that shows both."""
    scene = Scene({"a": "xyz"}, {"b": "Xyz"})
    scene.renames.files[RepoPath("a")] = RepoPath("b")
    scene.author.rename("a", "b")
    assert scene.outcome() == ({"b": "Xyz"}, {})
    scene = Scene({"a": "xyz"}, {"b": "xyz"})
    scene.renames.files[RepoPath("a")] = RepoPath("b")
    scene.author.rename("a", "c")
    assert scene.outcome() == ({"b": "xyz", "c": "xyz"}, {"c": ConflictType.RENAME_RENAME})


def test_rename_against_delete_and_add() -> None:
    """A rename of what main deleted, or onto what main added, is a named conflict."""
    scene = Scene({"a": "xyz"}, {})
    scene.author.rename("a", "b")
    assert scene.outcome() == ({"b": "xyz"}, {"b": ConflictType.RENAME_DELETE})
    scene = Scene({"a": "xyz"}, {"a": "xyz", "b": "other"})
    scene.author.rename("a", "b")
    assert scene.outcome() == ({"b": "<other|xyz>"}, {"b": ConflictType.RENAME_ADD})


def test_rename_over_a_known_file_replaces_it() -> None:
    """Moving a file over another is no conflict while nobody else touched that other."""
    scene = Scene({"a": "xyz", "b": "old"})
    scene.author.rename("a", "b")
    assert scene.outcome() == ({"b": "xyz"}, {})


def test_swap_and_return() -> None:
    """Names exchanged stay exchanged; a rename and its reverse leave nothing behind."""
    scene = Scene({"a": "aaa", "b": "bbb"})
    scene.author.rename("a", "t")
    scene.author.rename("b", "a")
    scene.author.rename("t", "b")
    assert scene.outcome() == ({"a": "bbb", "b": "aaa"}, {})
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.rename("a", "b")
    scene.author.rename("b", "a")
    assert scene.outcome() == ({"a": "Xyz"}, {})


def test_deleting_a_renamed_file_deletes_the_original() -> None:
    """A file moved and then deleted is gone under both names."""
    scene = Scene({"a": "xyz", "b": "bbb"})
    scene.author.rename("a", "c")
    scene.author.delete("c")
    assert scene.outcome() == ({"b": "bbb"}, {})


def test_new_file_follows_their_directory() -> None:
    """A file added to a directory that main renamed as a whole is in the renamed directory."""
    scene = Scene({"d/a": "aaa"}, {"e/a": "aaa"})
    scene.renames.files[RepoPath("d/a")] = RepoPath("e/a")
    scene.renames.directories[RepoPath("d")] = RepoPath("e")
    scene.author.write("d/new", "nnn")
    assert scene.outcome() == ({"e/a": "aaa", "e/new": "nnn"}, {})


def test_their_new_file_follows_your_directory() -> None:
    """A file that main adds to a directory renamed by the change goes along."""
    scene = Scene({"d/a": "aaa"}, {"d/a": "aaa", "d/new": "nnn"})
    scene.author.rename("d/a", "e/a", ("d", "e"))
    assert scene.outcome() == ({"e/a": "aaa", "e/new": "nnn"}, {})


def test_their_new_file_stays_where_its_name_is_taken() -> None:
    """A file whose name in the renamed directory somebody has already covers nobody's file."""
    scene = Scene({"d/a": "aaa"}, {"d/a": "aaa", "d/new": "nnn", "e/new": "other"})
    scene.author.rename("d/a", "e/a", ("d", "e"))
    assert scene.outcome() == ({"d/new": "nnn", "e/a": "aaa", "e/new": "other"}, {})


def test_file_against_directory() -> None:
    """Where one side has a file and the other a directory, both are kept, one under a new name."""
    scene = Scene({}, {"x/deep": "ddd"})
    scene.author.write("x", "file")
    assert scene.outcome() == (
        {"x/deep": "ddd", "x~mine": "file"},
        {"x~mine": ConflictType.FILE_DIRECTORY},
    )
    scene = Scene({}, {"x": "file"})
    scene.author.write("x/deep", "ddd")
    assert scene.outcome() == (
        {"x": "file", "x~mine/deep": "ddd"},
        {"x~mine/deep": ConflictType.FILE_DIRECTORY},
    )


def test_file_in_place_of_a_deleted_directory() -> None:
    """Deleting a directory's files makes room for a file of its name, and the other way round."""
    scene = Scene({"x/a": "aaa", "y": "yyy"})
    scene.author.delete("x/a")
    scene.author.write("x", "file")
    scene.author.delete("y")
    scene.author.write("y/b", "bbb")
    assert scene.outcome() == ({"x": "file", "y/b": "bbb"}, {})


def test_modes_merge() -> None:
    """An executable bit set by one side joins an edit by the other; links never merge by lines."""
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.write("a", "xyz", Mode.EXECUTABLE)
    composition = scene.compose()
    found = composition.tree.get(RepoPath("a"))
    assert found == scene.memory.file("Xyz", Mode.EXECUTABLE)
    scene = Scene({"a": "xyz"}, {"a": "Xyz"})
    scene.author.write("a", "to", Mode.SYMLINK)
    assert scene.outcome() == ({"a": "to"}, {"a": ConflictType.SYMLINK})


def test_resolution_is_based_on_what_was_seen() -> None:
    """Writing the resolved file after main moved is all that resolving takes."""
    scene = Scene({"a": "xyz"}, {"a": "1yz"})
    scene.author.write("a", "2yz")
    assert scene.outcome()[1]
    scene.author.below = scene.compose().tree  # the writer sees main as it is now
    scene.author.below.set(RepoPath("a"), scene.memory.file("1yz"))
    scene.author.write("a", "3yz")
    assert scene.outcome() == ({"a": "3yz"}, {})
