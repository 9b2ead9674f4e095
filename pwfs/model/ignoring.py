"""Which paths are scratch: `.git`, and what `.gitignore` and `.patchworkignore` say.

Git's own rules, by the pathspec library: every directory may have both files, deeper ones decide
before those above them, later lines before earlier ones, and nothing below an ignored directory
can be taken back.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from pathspec import GitIgnoreSpec

from pwfs.model.paths import RepoPath

RULE_FILES = (".gitignore", ".patchworkignore")
GIT_DIRECTORY = ".git"
SPECS_KEPT_MAX = 512

Key = TypeVar("Key", bound=Hashable)


class IgnoreRules(Generic[Key]):
    """The rules of one tree of files, parsed once per content.

    Args:
        find: tells which content a rule file has now, None where there is no such file.
        read: returns that content.
    """

    def __init__(
        self, find: Callable[[RepoPath], Key | None], read: Callable[[Key], bytes]
    ) -> None:
        self._find = find
        self._read = read
        self._specs: OrderedDict[Key, GitIgnoreSpec] = OrderedDict()

    def is_ignored(self, path: RepoPath, *, is_directory: bool = False) -> bool:
        """Tells whether a path, or a directory above it, is ignored."""
        names = path.split("/")
        if GIT_DIRECTORY in names:
            return True
        specs: list[tuple[int, GitIgnoreSpec]] = []
        for depth in range(len(names)):
            above = "/".join(names[:depth])
            for file in RULE_FILES:
                spec = self._spec(RepoPath(f"{above}/{file}" if above else file))
                if spec is not None:
                    specs.append((depth, spec))
            if specs:
                is_last = depth + 1 == len(names)
                is_above = is_directory or not is_last
                if _matches(specs, names[: depth + 1], is_directory=is_above):
                    return True
        return False

    def _spec(self, file: RepoPath) -> GitIgnoreSpec | None:
        key = self._find(file)
        if key is None:
            return None
        spec = self._specs.get(key)
        if spec is None:
            spec = self._specs[key] = _parse(self._read(key))
            if len(self._specs) > SPECS_KEPT_MAX:
                self._specs.popitem(last=False)
        return spec


def _parse(content: bytes) -> GitIgnoreSpec:
    """Reads a rule file; a line that is no pattern ignores nothing, as for git.

    Any bytes may be in such a file, and no file may keep the mount from answering.
    """
    text = content.decode("utf-8", "replace")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return GitIgnoreSpec.from_lines(line for line in lines if line and _is_pattern(line))


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


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
