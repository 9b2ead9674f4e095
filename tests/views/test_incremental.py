"""Following one operation at a time gives what composing anew gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pwfs.model.entries import FileEntry
from pwfs.model.ids import Seq
from pwfs.model.paths import RepoPath
from pwfs.views.compose import Composition
from pwfs.views.editor import TreeEditor
from tests.views.world import Scene

NAMES = ["a", "b", "c", "d/a", "d/b", "e/a"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(["111", "222"])),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    ),
    max_size=12,
)
TREES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["xyz", "Xyz", "xyZ"]))


def _shown(composition: Composition) -> dict[str, object]:
    return dict(composition.tree.files())


@settings(deadline=None, max_examples=300)
@given(before=TREES, after=TREES, steps=STEPS)
def test_replace_equals_composing_anew(
    before: dict[str, str], after: dict[str, str], steps: list[tuple[str, str, str]]
) -> None:
    """`Composition.replace` after each operation shows what a new composition shows."""
    scene = Scene(before, after)
    below = Composition(
        TreeEditor(scene.memory, scene.after),
        base_seq=Seq(9),
        renames_since=lambda _: scene.renames,
        merger=scene.memory,
    )
    followed = scene.compose()
    mine = TreeEditor(scene.memory, scene.memory.tree(before))
    for kind, name, other in steps:
        exists = isinstance(mine.get(RepoPath(name)), FileEntry)
        edits = scene.author.edits
        known = dict(edits.edits)
        if kind == "write":
            scene.author.write(name, other)
            mine.set(RepoPath(name), scene.memory.file(other))
        elif kind == "delete" and exists:
            scene.author.delete(name)
            mine.remove(RepoPath(name))
        elif kind == "rename" and exists and name != other:
            entry = mine.get(RepoPath(name))
            assert isinstance(entry, FileEntry)
            scene.author.rename(name, other)
            mine.remove(RepoPath(name))
            mine.set(RepoPath(other), entry)
        else:
            continue
        touched = frozenset(
            path for path in {*known, *edits.edits} if known.get(path) is not edits.edits.get(path)
        )
        if followed.replace(scene.author.layer(), touched, below=below) is None:
            followed = scene.compose()
        anew = scene.compose()
        assert _shown(followed) == _shown(anew)
        assert followed.resolutions == anew.resolutions


@settings(deadline=None, max_examples=200)
@given(before=TREES, steps=STEPS)
def test_layer_on_what_it_saw_gives_what_was_written(
    before: dict[str, str], steps: list[tuple[str, str, str]]
) -> None:
    """On an unmoved main a change shows exactly the files that its author made."""
    scene = Scene(before)
    model = dict(before)
    for kind, name, other in steps:
        if kind == "write":
            scene.author.write(name, other)
            model[name] = other
        elif kind == "delete" and name in model:
            scene.author.delete(name)
            del model[name]
        elif kind == "rename" and name in model and name != other:
            scene.author.rename(name, other)
            model[other] = model.pop(name)
    assert scene.outcome() == (model, {})
