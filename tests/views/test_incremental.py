"""Following one operation at a time gives what composing anew gives, and so does a part of it."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pwfs.model.ids import Seq
from pwfs.model.paths import RepoPath, is_under, parents
from pwfs.views.compose import Composition
from pwfs.views.editor import TreeEditor
from pwfs.views.part import PartOfOverlay, paths_near
from pwfs.views.resolution import Clash, Merge, Resolution
from tests.views.world import Author, Scene

NAMES = ["a", "b", "c", "d/a", "d/b", "e/a", "d/f/a", "g/f/b"]
DIRECTORIES = ["d", "e", "g", "d/f", "e/f"]
TEXTS = ["111", "222"]
STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
    st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("move"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
)
STEPS = st.lists(STEP, max_size=12)
TREES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["xyz", "Xyz", "xyZ"]))
RENAMES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES), max_size=3)
MOVES = st.dictionaries(st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES), max_size=2)
Step = tuple[str, str, str]


class Hand:
    """Takes steps as programs do in a workspace: what is not there is not touched."""

    def __init__(self, author: Author, files: dict[str, str]) -> None:
        self.author = author
        self.files = dict(files)

    def take(self, step: Step) -> frozenset[RepoPath]:
        """Takes one step, if it can be; returns the paths whose edits are others now."""
        kind, name, other = step
        edits = self.author.edits
        known = dict(edits.edits)
        if kind == "write":
            self.author.write(name, other)
            self.files[name] = other
        elif kind == "delete" and name in self.files:
            self.author.delete(name)
            del self.files[name]
        elif kind == "rename" and name in self.files and name != other:
            self._rename(name, other, None)
        elif kind == "move" and not is_under(RepoPath(other), RepoPath(name)) and name != other:
            self._move(name, other)
        return frozenset(
            path for path in {*known, *edits.edits} if known.get(path) is not edits.edits.get(path)
        )

    def _move(self, old: str, new: str) -> None:
        if any(is_under(RepoPath(path), RepoPath(new)) for path in self.files):
            return
        moved = [path for path in self.files if is_under(RepoPath(path), RepoPath(old))]
        for path in moved:
            is_last = path == moved[-1]
            self._rename(path, new + path[len(old) :], (old, new) if is_last else None)

    def _rename(self, old: str, new: str, directories: tuple[str, str] | None) -> None:
        self.author.rename(old, new, directories)
        self.files[new] = self.files.pop(old)


def _below(scene: Scene) -> Composition:
    return Composition(
        TreeEditor(scene.memory, scene.after),
        base_seq=Seq(9),
        renames_since=lambda _: scene.renames,
        merger=scene.memory,
    )


def _state(composition: Composition) -> dict[str, object]:
    """Everything that a view asks of a composition."""
    shown = dict(composition.tree.files())
    return {
        "shown": shown,
        "resolutions": composition.resolutions,
        "moved from": composition.moved_from,
        "edit at": {path: composition.edit_at.get(path) for path in shown},
        "times": {path: composition.times.get(path) for path in shown},
        "sides": {path: composition.sides.get(path) for path in shown},
    }


@settings(deadline=None, max_examples=400)
@given(before=TREES, after=TREES, steps=STEPS, renames=RENAMES, moves=MOVES)
def test_replace_equals_composing_anew(
    before: dict[str, str],
    after: dict[str, str],
    steps: list[Step],
    renames: dict[str, str],
    moves: dict[str, str],
) -> None:
    """`Composition.replace` after each operation shows what a new composition shows."""
    scene = Scene(before, after)
    scene.renames.files.update((RepoPath(old), RepoPath(new)) for old, new in renames.items())
    scene.renames.directories.update((RepoPath(old), RepoPath(new)) for old, new in moves.items())
    below = _below(scene)
    hand = Hand(scene.author, before)
    followed = scene.compose()
    for step in steps:
        shown = dict(followed.tree.files())
        touched = hand.take(step)
        replaced = followed.replace(scene.author.layer(), touched, below=below)
        anew = scene.compose()
        if replaced is None:
            followed = anew
            continue
        assert _state(followed) == _state(anew)
        now = dict(followed.tree.files())
        moved = {path for path in {*shown, *now} if shown.get(path) != now.get(path)}
        assert moved <= replaced


def test_a_change_that_moved_directories_is_followed() -> None:
    """Neither directories that were moved nor files that went along make a view compose anew."""
    scene = Scene({"d/a": "xyz", "d/f/a": "xyz"}, {"d/a": "xyz", "d/b": "Xyz", "d/f/a": "xyz"})
    below, followed = _below(scene), scene.compose()
    hand = Hand(scene.author, {"d/a": "xyz", "d/f/a": "xyz"})
    steps = [
        ("move", "d", "g"),
        ("write", "g/a", "111"),
        ("move", "g/f", "e"),
        ("write", "d/b", "222"),
        ("delete", "d/b", ""),
        ("move", "e", "d/f"),
    ]
    for step in steps:
        touched = hand.take(step)
        assert followed.replace(scene.author.layer(), touched, below=below) is not None, step
        assert _state(followed) == _state(scene.compose())


def _conflicts(scene: Scene, composition: Composition) -> dict[RepoPath, Resolution]:
    return {
        path: resolution
        for path, resolution in composition.resolutions.items()
        if isinstance(resolution, Clash)
        or (isinstance(resolution, Merge) and scene.memory.settle(resolution).conflict)
    }


@settings(deadline=None, max_examples=300)
@given(before=TREES, after=TREES, theirs=STEPS, mine=st.lists(STEP, min_size=1, max_size=12))
def test_a_part_finds_the_conflicts_that_all_edits_find(
    before: dict[str, str], after: dict[str, str], theirs: list[Step], mine: list[Step]
) -> None:
    """What was just edited conflicts with another change and main as if all edits were compared."""
    scene = Scene(before, after)
    other = Author(scene.memory, TreeEditor(scene.memory, scene.memory.tree(before)), "theirs")
    below, hand = Hand(other, before), Hand(scene.author, before)
    for step in theirs:
        below.take(step)
    *earlier, last = mine
    for step in earlier:
        hand.take(step)
    edited = hand.take(last)
    layers = [other.layer(), scene.author.layer()]
    near = paths_near(edited, [layer.edits for layer in layers])
    near = near.union(*(parents(path) for path in near))
    whole, part = _below(scene), _below(scene)
    for layer in layers:
        whole.add(layer)
        part.add(replace(layer, edits=PartOfOverlay(layer.edits, near)))
    expected, found = _conflicts(scene, whole), _conflicts(scene, part)
    assert {path: expected.get(path) for path in edited} == {p: found.get(p) for p in edited}


@settings(deadline=None, max_examples=200)
@given(before=TREES, steps=STEPS)
def test_layer_on_what_it_saw_gives_what_was_written(
    before: dict[str, str], steps: list[Step]
) -> None:
    """On an unmoved main a change shows exactly the files that its author made."""
    scene = Scene(before)
    hand = Hand(scene.author, before)
    for step in steps:
        hand.take(step)
    assert scene.outcome() == (hand.files, {})
