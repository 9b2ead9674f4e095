"""Which untracked names are scratch: git's rules, from .gitignore and .patchworkignore."""

from collections import OrderedDict
from collections.abc import Callable

from pathspec import GitIgnoreSpec

from pwfs.model.entries import FileEntry
from pwfs.model.ids import BlobHash
from pwfs.model.paths import RepoPath

ALWAYS = ".git"
FILES = (".gitignore", ".patchworkignore")
_SPECS_MAX = 512


class IgnoreRules:
    """A workspace's rules, read from its own files; parsed once per content."""

    def __init__(
        self,
        file_at: Callable[[RepoPath], FileEntry | None],
        read: Callable[[BlobHash], bytes],
    ) -> None:
        self._file_at = file_at
        self._read = read
        self._specs: OrderedDict[BlobHash, GitIgnoreSpec] = OrderedDict()

    def is_ignored(self, path: RepoPath, *, is_directory: bool = False) -> bool:
        """Tells whether a path, or a directory above it, is ignored."""
        names = path.split("/")
        if ALWAYS in names:
            return True
        specs: list[tuple[int, GitIgnoreSpec]] = []
        for depth in range(len(names)):
            above = "/".join(names[:depth])
            for file in FILES:
                spec = self._spec(RepoPath(f"{above}/{file}" if above else file))
                if spec is not None:
                    specs.append((depth, spec))
            if specs:
                last = depth + 1 == len(names)
                if _matches(specs, names[: depth + 1], is_directory=is_directory or not last):
                    return True
        return False

    def _spec(self, file: RepoPath) -> GitIgnoreSpec | None:
        entry = self._file_at(file)
        if entry is None:
            return None
        spec = self._specs.get(entry.content_hash)
        if spec is None:
            text = self._read(entry.content_hash).decode("utf-8", "replace")
            spec = GitIgnoreSpec.from_lines(text.splitlines())
            self._specs[entry.content_hash] = spec
            if len(self._specs) > _SPECS_MAX:
                self._specs.popitem(last=False)
        return spec


def _matches(
    specs: list[tuple[int, GitIgnoreSpec]], names: list[str], *, is_directory: bool
) -> bool:
    """Whether the last rule that speaks of the path, deepest file first, ignores it."""
    for depth, spec in reversed(specs):
        relative = "/".join(names[depth:]) + ("/" if is_directory else "")
        verdict = spec.check_file(relative).include
        if verdict is not None:
            return verdict
    return False
