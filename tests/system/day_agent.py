"""An agent at its day's work: many small saves, now and then a build, git, a submission.

It runs in a thread of the test and works through commands and system calls only. Everything it
does is chosen by a seed. What it meets that a working agent may meet (a co-worker took the file
away, the change has just landed) it notes and goes on.
"""

import errno
import os
import random
import subprocess
from collections import Counter
from pathlib import Path

from tests.system.people import Refused, System

MAKEFILE = """\
all: build/out
build/out: one.txt two.txt
\tmkdir -p build
\tcat one.txt two.txt > build/out
"""
PASSING = frozenset({errno.ENOENT, errno.EROFS, errno.ESTALE, errno.ENOTEMPTY, errno.EEXIST})
ACTIONS = {
    "save": 12,
    "save_in_place": 8,
    "append": 8,
    "read_all": 3,
    "grep": 2,
    "git_status": 2,
    "build": 2,
    "move_directory": 2,
    "remove": 3,
    "submit": 1,
    "land": 1,
    "rebase": 1,
    "anew": 1,
}


class Agent:
    """One of them, on a change that it may share with another."""

    def __init__(self, system: System, name: str, seed: int) -> None:
        self.system = System(system.project)
        self.system.connect()
        self.name = name
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.workspace: Path | None = None
        self.change = ""
        self.number = 0

    def join(self, change: str) -> None:
        """Makes a workspace on a change, in place of the one there was."""
        self.leave()
        made = self.system.post("workspaces", change_id=change, agent_id=self.name)
        self.workspace, self.change = Path(made["path"]), change
        (self.workspace / self.name).mkdir(exist_ok=True)

    def leave(self) -> None:
        """Destroys the workspace."""
        if self.workspace is not None:
            self.system.request("DELETE", f"workspaces/{self.workspace.name}")
            self.workspace = None

    def begin(self) -> None:
        """Starts a change of its own."""
        self.number += 1
        made = self.system.post(
            "changes", title=f"{self.name} {self.number}", author=self.name, dependencies=[]
        )
        self.join(str(made["id"]))

    def act(self) -> None:
        """Does one thing."""
        name = self.chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        try:
            getattr(self, f"_{name}")()
            self.done[name] += 1
        except OSError as error:
            if error.errno not in PASSING:
                raise
            self.met[errno.errorcode[error.errno]] += 1
            if error.errno == errno.EROFS:
                self.begin()
        except Refused as refused:
            if refused.status not in (404, 409):
                raise
            self.met[refused.problem["code"]] += 1
            self.begin()

    @property
    def _top(self) -> Path:
        assert self.workspace is not None
        return self.workspace

    def _own(self) -> Path:
        """A file in the agent's own directory; there may be none of that name yet."""
        place = self._top / self.name / self.chance.choice(["", "a", "a/b", "c"])
        place.mkdir(parents=True, exist_ok=True)
        return place / f"f{self.chance.randrange(12)}.txt"

    def _text(self) -> bytes:
        lines = self.chance.choice([0, 1, 30, 400, 4000])
        return b"".join(b"%d %s\n" % (line, self.name.encode()) for line in range(lines))

    def _save(self) -> None:
        path = self._own()
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(self._text())
        temporary.rename(path)

    def _save_in_place(self) -> None:
        self._own().write_bytes(self._text())

    def _append(self) -> None:
        with self._own().open("ab") as file:
            file.write(self._text())

    def _read_all(self) -> None:
        for place, _, names in os.walk(self._top):
            for name in names:
                Path(place, name).read_bytes()

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            cwd=self._top,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )

    def _grep(self) -> None:
        self._run("grep", "-rc", self.name, ".")

    def _git_status(self) -> None:
        if not (self._top / ".git").exists():
            self._run("git", "init", "-q")
            self._run("git", "add", "-A")
        self._run("git", "status", "--porcelain")

    def _build(self) -> None:
        place = self._top / self.name
        (place / "Makefile").write_text(MAKEFILE)
        for name in ("one.txt", "two.txt"):
            (place / name).write_bytes(self._text())
        self._run("make", "-C", self.name)

    def _move_directory(self) -> None:
        names = ["a", "c", "moved"]
        self.chance.shuffle(names)
        (self._top / self.name / names[0]).rename(self._top / self.name / names[1])

    def _remove(self) -> None:
        self._own().unlink()

    def _submit(self) -> None:
        self.system.post("queue", change_id=self.change, agent_id=self.name)
        self.begin()

    def _land(self) -> None:
        self.system.post(f"changes/{self.change}/land", agent_id=self.name)
        self.begin()

    def _rebase(self) -> None:
        self.system.post(f"changes/{self.change}/rebase", agent_id=self.name)

    def _anew(self) -> None:
        self.join(self.change)

    def end(self) -> None:
        """Goes home."""
        self.leave()
        self.system.disconnect()
