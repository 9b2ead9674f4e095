"""Which paths are scratch: `.git`, and what `.gitignore` and `.patchworkignore` say.

Git's own rules, by the pathspec library: every directory may have both files, deeper ones decide
before those above them, later lines before earlier ones, and nothing below an ignored directory
can be taken back.
"""

from collections.abc import Callable

from pathspec import GitIgnoreSpec

from pwfs.model.paths import ROOT, RepoPath, join, split

RULE_FILES = (".gitignore", ".patchworkignore")
GIT_DIRECTORY = ".git"


class IgnoreRules:
    """Answers whether a path is ignored; ``read`` returns a rule file's content or None.

    Answers about directories are kept until `forget` is told that a rule file changed.
    """

    def __init__(self, read: Callable[[RepoPath], bytes | None]) -> None:
        self._read = read
        self._specs: dict[RepoPath, GitIgnoreSpec | None] = {}
        self._directories: dict[RepoPath, bool] = {ROOT: False}

    def is_ignored(self, path: RepoPath, *, is_directory: bool = False) -> bool:
        """Tells whether a path, or a directory above it, is ignored."""
        if is_directory and path in self._directories:
            return self._directories[path]
        directory, name = split(path)
        ignored = (
            name == GIT_DIRECTORY
            or self.is_ignored(directory, is_directory=True)
            or self._matches(path, is_directory=is_directory)
        )
        if is_directory:
            self._directories[path] = ignored
        return ignored

    def forget(self) -> None:
        """Reads all rules anew when they are needed next."""
        self._specs.clear()
        self._directories = {ROOT: False}

    def _matches(self, path: RepoPath, *, is_directory: bool) -> bool:
        directory = path
        while directory:
            directory = split(directory)[0]
            spec = self._spec(directory)
            if spec is None:
                continue
            below = path[len(directory) + 1 :] if directory else path
            verdict = spec.check_file(below + "/" if is_directory else below).include
            if verdict is not None:
                return verdict
        return False

    def _spec(self, directory: RepoPath) -> GitIgnoreSpec | None:
        if directory not in self._specs:
            lines: list[str] = []
            for name in RULE_FILES:
                content = self._read(join(directory, name))
                if content is not None:
                    lines += content.decode("utf-8", "replace").splitlines()
            self._specs[directory] = GitIgnoreSpec.from_lines(lines) if lines else None
        return self._specs[directory]
