"""Which paths an overlay depends on, so that most movement below it need not concern it."""

from pwfs.model.paths import RepoPath, parents
from pwfs.views.overlay import Overlay


def touched_paths(edits: Overlay) -> frozenset[RepoPath]:
    """All paths that an overlay's outcome depends on."""
    paths: set[RepoPath] = set()
    for edit in edits.edits.values():
        paths.add(edit.path)
        paths.add(edit.source)
    return frozenset(paths)


def interacts(edits: Overlay, moved: frozenset[RepoPath]) -> bool:
    """Tells whether changes below at ``moved`` can alter what an overlay's edits become."""
    if any(_is_moved(edits, above) for path in moved for above in parents(path)):
        return True
    touched = touched_paths(edits)
    if touched & moved:
        return True
    above_edits = {above for path in touched for above in parents(path)}
    if above_edits & moved:
        return True
    if any(above in touched for path in moved for above in parents(path)):
        return True
    # A new file's directory may have been renamed away below.
    return any(
        edit.base is None and edit.result is not None for edit in edits.edits.values()
    ) and any(above in above_edits for path in moved for above in parents(path) if above)


def _is_moved(edits: Overlay, directory: RepoPath) -> bool:
    """Whether an overlay moved a directory, or another to its place."""
    return directory in edits.directory_moves or any(edits.moved_into(directory))
