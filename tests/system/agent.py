"""An agent that writes files for as long as it can, and says in a journal outside what it did.

``python -m tests.system.agent WORKSPACE JOURNAL SEED [hold]``. A row ``["will", ACTION]`` is in the
journal, synced, before each action and ``["did"]`` after it returned, so that whoever compares knows
what must be there, and what was under way. With ``hold`` it keeps one file open and appends to it;
then ``["wrote", LINES]`` says how much of it ``write`` has taken.
"""

import errno
import json
import mmap
import os
import random
import sys
from pathlib import Path
from typing import IO

GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.EROFS)
FILES_MAX = 25


def content(tag: int, size: int) -> bytes:
    """The bytes that an action writes, told by two numbers."""
    return random.Random(tag).randbytes(size)


def held(tag: int, lines: int) -> bytes:
    """What the agent that keeps a file open has written after so many lines."""
    return b"".join(b"%d line %d\n" % (tag, number) for number in range(lines))


Action = tuple[str, str, str, int, int]
"""What is done, the file, the file it is renamed to or replaced by, the content's tag and size."""


def moved(path: str, old: str, new: str) -> str:
    """A path once a directory was renamed."""
    return new + path[len(old) :] if path.startswith(f"{old}/") else path


class Agent:
    """Chooses actions by a seed and carries them out."""

    def __init__(self, workspace: Path, journal: IO[str], seed: int) -> None:
        self.workspace = workspace
        self.journal = journal
        self.chance = random.Random(seed)
        self.device = workspace.stat().st_dev
        self.files = sorted(
            str(path.relative_to(workspace))
            for path in workspace.rglob("*")
            if path.is_file() and path.name != ".gitignore"
        )

    def note(self, row: list[object]) -> None:
        """Writes a row of the journal, to the disk."""
        self.journal.write(json.dumps(row) + "\n")
        self.journal.flush()
        os.fsync(self.journal.fileno())

    def new_name(self) -> str:
        """A name that no file has."""
        while True:
            name = f"{self.chance.choice(['', 'a/', 'a/b/', 'c/'])}n{self.chance.randrange(1000)}"
            if name not in self.files and not name.endswith("~"):
                return name

    def choose(self) -> Action:
        """The next action."""
        kinds = ["create", "rewrite", "append", "patch", "mapped", "replace", "rename", "over"]
        kinds += ["delete", "relink", "move", "touch", "unnamed"]
        kind = self.chance.choice(kinds)
        if len(self.files) < 3:
            kind = "create"
        elif len(self.files) > FILES_MAX:
            kind = "delete"
        tag = self.chance.randrange(1 << 30)
        size = self.chance.choice([0, 10, 500, 5_000, 40_000, 200_000])
        if self.chance.random() < 0.02:
            size = 2_500_000
        path = self.new_name() if kind == "create" else self.chance.choice(self.files)
        other = ""
        if kind == "move":
            tops = sorted({name.split("/")[0] for name in self.files if "/" in name})
            if not tops:
                kind = "touch"
            else:
                path, other = self.chance.choice(tops), f"m{tag}"
        elif kind == "unnamed":
            path = f"u{tag}"
        if kind in ("rename", "relink"):
            other = self.new_name()
        elif kind == "replace":
            other = f"{path}~"
        elif kind == "over":
            other = self.chance.choice([each for each in self.files if each != path])
        return kind, path, other, tag, size

    def act(self, action: Action) -> None:
        """Carries out an action; everything it opened is closed when it returns."""
        kind, name, other_name, tag, size = action
        path, other = self.workspace / name, self.workspace / other_name
        if kind in ("create", "rewrite"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(tag, size))
        elif kind == "append":
            with path.open("ab") as file:
                file.write(content(tag, size))
        elif kind == "patch":
            with path.open("r+b") as file:
                file.write(content(tag, size))
        elif kind == "mapped":
            with path.open("r+b") as file:
                length = min(size, path.stat().st_size)
                if length:
                    with mmap.mmap(file.fileno(), 0) as mapping:
                        mapping[:length] = content(tag, size)[:length]
        elif kind == "relink":
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)
            path.unlink()
        elif kind == "touch":
            path.chmod(0o755 if tag % 2 else 0o644)
            os.setxattr(path, "user.tag", str(tag).encode())
        elif kind == "unnamed":
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                path.unlink()
                os.write(descriptor, content(tag, size))
            finally:
                os.close(descriptor)
        elif kind == "replace":
            other.write_bytes(content(tag, size))
            other.rename(path)
        elif kind in ("rename", "over", "move"):
            other.parent.mkdir(parents=True, exist_ok=True)
            path.rename(other)
        else:
            path.unlink()
        self._take_note(kind, name, other_name)

    def _take_note(self, kind: str, name: str, other_name: str) -> None:
        """Knows which files there are now."""
        if kind == "move":
            self.files = [moved(each, name, other_name) for each in self.files]
            return
        old, new = (other_name, name) if kind == "replace" else (name, other_name or name)
        if kind in ("create", "rename", "relink"):
            self.files.append(new)
        if kind in ("rename", "over", "relink", "replace", "delete") and old in self.files:
            # A rename over another name of the same file leaves both.
            if not os.path.lexists(self.workspace / old):
                self.files.remove(old)

    def work(self) -> None:
        """Acts until the mount is gone."""
        while True:
            action = self.choose()
            self.note(["will", action])
            try:
                self.act(action)
            except OSError as error:
                if self.is_gone(error):
                    return
                raise
            self.note(["did"])

    def is_gone(self, error: OSError) -> bool:
        """Whether an error means that the mount has died.

        Once a dead mount is cleared away its place is empty, until the next one is there.
        """
        if error.errno != errno.ENOENT:
            return error.errno in GONE
        try:
            return self.workspace.stat().st_dev != self.device
        except OSError:
            return True

    def hold(self) -> None:
        """Keeps a file open and writes line after line, until the mount is gone."""
        tag, number = self.chance.randrange(1 << 30), 0
        self.note(["holds", tag])
        file = (self.workspace / "held").open("wb", buffering=0)
        try:
            while True:
                line = b"%d line %d\n" % (tag, number)
                while line:
                    # A write that crosses a page may be cut there when the mount dies.
                    line = line[file.write(line) :]
                number += 1
                self.note(["wrote", number])
        except OSError as error:
            if not self.is_gone(error):
                raise
        try:
            file.close()
        except OSError as error:
            if not self.is_gone(error):
                raise


def main() -> None:
    """Runs an agent."""
    with Path(sys.argv[2]).open("w") as journal:
        agent = Agent(Path(sys.argv[1]), journal, int(sys.argv[3]))
        if sys.argv[4:] == ["hold"]:
            agent.hold()
        else:
            agent.work()


if __name__ == "__main__":
    main()
