"""Git's own answers, by ``git merge-file``, ``git apply`` and ``git diff``."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pwfs.merge import TextMerge, marker_size, merge_text, render

THEIRS_LABEL, BASE_LABEL, YOURS_LABEL = "change-a@3", "base", "change-b@1"

CONFLICTS_COUNTED_MAX = 127
"""Git says how many conflicts there are by its exit status, and stops counting here."""

# Nobody's configuration may choose another conflict style, diff algorithm or line ending.
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_DIR": os.devnull,
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Case:
    """Three texts to merge."""

    base: bytes
    theirs: bytes
    yours: bytes

    def merged(self) -> TextMerge:
        return merge_text(base=self.base, theirs=self.theirs, yours=self.yours)


@dataclass(frozen=True, slots=True)
class Answer:
    """How many conflicts a merge has, and the text."""

    conflicts: int
    text: bytes


class Git:
    """Runs git on files in a directory of its own, outside of any repository."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def merge_file(self, case: Case, *options: str) -> Answer:
        """Merges as ``--zdiff3`` does; yours is git's second side."""
        done = self._merge_file(case, "--zdiff3", *options)
        assert done.returncode <= CONFLICTS_COUNTED_MAX, done.stderr
        return Answer(done.returncode, done.stdout)

    def refuses(self, case: Case) -> bool:
        """Whether git holds one of the texts for binary."""
        return b"Cannot merge binary files" in self._merge_file(case).stderr

    def apply(self, patch: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
        """Applies a patch to files, and gives what is then there."""
        (self._directory / "patch").write_bytes(patch)
        with TemporaryDirectory(dir=self._directory) as name:
            tree = Path(name)
            for path, content in files.items():
                (tree / path).write_bytes(content)
            done = self._run(["apply", "--whitespace=nowarn", "../patch"], tree)
            assert done.returncode == 0, (done.stderr, patch)
            return {file.name: file.read_bytes() for file in tree.iterdir()}

    def diff(self, old: bytes, new: bytes) -> bytes:
        """The hunks ``git diff`` shows."""
        for name, content in (("old", old), ("new", new)):
            (self._directory / name).write_bytes(content)
        done = self._run(["diff", "--no-index", "--text", "--no-color", "old", "new"])
        assert done.returncode <= 1, done.stderr
        _, found, hunks = done.stdout.partition(b"\n@@ ")
        return b"@@ " + hunks if found else b""

    def _merge_file(self, case: Case, *options: str) -> subprocess.CompletedProcess[bytes]:
        for name, content in (("t", case.theirs), ("b", case.base), ("y", case.yours)):
            (self._directory / name).write_bytes(content)
        labels = ["-L", THEIRS_LABEL, "-L", BASE_LABEL, "-L", YOURS_LABEL]
        return self._run(["merge-file", "-p", *labels, *options, "t", "b", "y"])

    def _run(
        self, arguments: Sequence[str], directory: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory or self._directory,
            env=_ENVIRONMENT,
            capture_output=True,
            close_fds=False,
            check=False,
        )


def rendered(merge: TextMerge) -> bytes:
    """Renders with the labels that git is given."""
    return render(merge, theirs_label=THEIRS_LABEL, yours_label=YOURS_LABEL, base_label=BASE_LABEL)


def disagreement(git: Git, case: Case) -> str | None:
    """Says how our merge and git's differ, in verdict or in text; None if they do not."""
    merge = case.merged()
    ours = Answer(min(len(merge.conflicts), CONFLICTS_COUNTED_MAX), rendered(merge))
    theirs = git.merge_file(case, f"--marker-size={marker_size(merge)}")
    return None if ours == theirs else f"{case}\nours: {ours}\ngit: {theirs}"
