"""A git checkout in a workspace, and everybody who changes its files."""

import json
import mmap
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.syscalls import exchange
from tests.system.people import Refused, System

QUIET = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
WHO = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")


@dataclass(frozen=True)
class Seen:
    """What ``git status`` printed, and what it did for that.

    ``lstats`` counts the files that git looked at because the index did not know them as clean;
    ``asked`` says that the hook was asked and answered.
    """

    lines: list[str]
    lstats: int
    asked: bool


@dataclass
class Checkout:
    """A git working tree in a workspace, at any of the paths that lead there."""

    top: Path

    def git(self, *arguments: str, **variables: str) -> str:
        """Runs git here."""
        done = subprocess.run(
            ["git", *WHO, *arguments],
            cwd=self.top,
            env={**os.environ, **QUIET, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            check=False,
            text=True,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def begin(self) -> None:
        """Makes what is here a git repository with everything committed."""
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-qm", "all")

    def status(self) -> Seen:
        """Runs ``git status`` with the hook, as people do."""
        with tempfile.NamedTemporaryFile() as trace:
            out = self.git("status", "--porcelain", "-uall", GIT_TRACE2_EVENT=trace.name)
            events = [json.loads(line) for line in trace.read().splitlines()]
        lstats = [
            int(event["value"])
            for event in events
            if event["event"] == "data" and str(event["key"]).endswith("/sum_lstat")
        ]
        exits = [event["code"] for event in events if event["event"] == "child_exit"]
        assert lstats, "this git does not tell how many files it looked at"
        return Seen(sorted(out.splitlines()), sum(lstats), exits == [0])

    def truth(self) -> list[str]:
        """What git says when it looks at every file itself, leaving the index as it is."""
        out = self.git(
            "--no-optional-locks",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.untrackedCache=false",
            "status",
            "--porcelain",
            "-uall",
        )
        return sorted(out.splitlines())


def checkout_in(system: System, directory: Path, title: str = "Git") -> tuple[Checkout, str]:
    """A workspace shown in a directory, a git repository with the hook in it."""
    change = system.change(title)
    system.workspace(change, directory=str(directory))
    checkout = Checkout(directory)
    checkout.begin()
    system.project.patchwork("fsmonitor", "install", cwd=directory)
    return checkout, change


def same(checkout: Checkout) -> Seen:
    """What git says with the hook, which is what it says without."""
    seen = checkout.status()
    assert seen.lines == checkout.truth()
    return seen


def settle(checkout: Checkout) -> None:
    """Lets git write down what it learnt, until it knows all."""
    same(checkout)
    assert same(checkout).asked


@dataclass
class Crowd:
    """Several writers who change a checkout's files at random, through all doors."""

    system: System
    checkout: Checkout
    co_worker: Path
    change: str
    dice: random.Random
    held: ExitStack = field(default_factory=ExitStack)
    landings: int = 0

    def act(self) -> str:
        """Does one thing; returns what, for the message of a failure."""
        deeds: list[Callable[[], str]] = [
            self.write,
            self.write,
            self.append,
            self.remove,
            self.chmod,
            self.link,
            self.hard_link,
            self.grow,
            self.copy,
            self.move_file,
            self.exchange,
            self.move_directory,
            self.remove_directory,
            self.write_ignored,
            self.write_forced,
            self.hold_open,
            self.map_shared,
            self.let_go,
            self.use_git,
            self.co_work,
            self.co_work,
            self.land,
            self.api,
        ]
        deed = self.dice.choice(deeds)
        try:
            return f"{deed.__name__}: {deed()}"
        except OSError as error:
            # Where a conflict ends, the other side may show under a name that was just removed.
            return f"{deed.__name__}: {error}"

    def _files(self, top: Path | None = None) -> list[Path]:
        top = top or self.checkout.top
        found = []
        for place, directories, names in os.walk(top):
            directories[:] = sorted(name for name in directories if name != ".git")
            found += [Path(place, name) for name in sorted(names)]
        return [file for file in found if file.name != ".gitignore"]

    def _directories(self) -> list[Path]:
        return sorted({file.parent for file in self._files()} - {self.checkout.top})

    def _file(self) -> Path:
        files = self._files()
        return self.dice.choice(files) if files else self._new("again")

    def _new(self, name: str) -> Path:
        above = self.dice.choice([self.checkout.top, *self._directories()])
        if self.dice.random() < 0.3:
            above = above / f"dir{self.dice.randrange(4)}"
        if above.is_file() or above.is_symlink():
            above = self.checkout.top
        above.mkdir(parents=True, exist_ok=True)
        return above / f"{name}{self.dice.randrange(4)}"

    def _text(self) -> str:
        return f"{self.dice.randrange(1000)}\n" * self.dice.randrange(4)

    # In the checkout itself

    def write(self) -> str:
        file = self.dice.choice([self._file(), self._new("new")])
        if file.is_symlink() or file.is_dir():
            return "nothing"
        file.write_text(self._text())
        return str(file)

    def append(self) -> str:
        file = self._file()
        if not file.is_symlink():
            with file.open("a") as opened:
                opened.write("more\n")
        return str(file)

    def remove(self) -> str:
        file = self._file()
        file.unlink(missing_ok=True)
        return str(file)

    def chmod(self) -> str:
        file = self._file()
        if file.is_file() and not file.is_symlink():
            file.chmod(file.stat().st_mode ^ 0o111)
        return str(file)

    def link(self) -> str:
        file = self._new("link")
        if not os.path.lexists(file):
            file.symlink_to("anywhere")
        return str(file)

    def hard_link(self) -> str:
        source, target = self._file(), self._new("hard")
        if source.is_file() and not os.path.lexists(target):
            with suppress(OSError):  # from scratch into the log or back, where it is refused
                os.link(source, target, follow_symlinks=False)
        return f"{source} {target}"

    def grow(self) -> str:
        file = self._file()
        if not file.is_symlink():
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, 100 + self.dice.randrange(100))
        return str(file)

    def copy(self) -> str:
        source, target = self._file(), self._new("copy")
        if source.is_file() and not target.is_dir() and not target.is_symlink():
            with source.open("rb") as read, target.open("ab") as written:
                end = written.seek(0, os.SEEK_END)
            with source.open("rb") as read, target.open("r+b") as written:
                os.copy_file_range(read.fileno(), written.fileno(), 1000, 0, end)
        return f"{source} {target}"

    def move_file(self) -> str:
        source, target = self._file(), self._new("moved")
        if not os.path.lexists(source) or target.is_dir():
            return "nothing"
        # As mv does: one of several links does not go from the log into scratch, nor back.
        shutil.move(source, target)
        return f"{source} {target}"

    def exchange(self) -> str:
        one, other = (self.dice.choice([*self._files(), *self._directories()]) for _ in range(2))
        if one.is_relative_to(other) or other.is_relative_to(one):
            return "nothing"
        exchange(one, other)
        return f"{one} {other}"

    def move_directory(self) -> str:
        directories = self._directories()
        if not directories:
            return "nothing"
        source = self.dice.choice(directories)
        target = self.checkout.top / f"dir{self.dice.randrange(4)}"
        if os.path.lexists(target) or target.is_relative_to(source):
            return "nothing"
        source.rename(target)
        return f"{source} {target}"

    def remove_directory(self) -> str:
        directories = self._directories()
        if len(directories) < 3:
            return "nothing"
        directory = self.dice.choice(directories)
        shutil.rmtree(directory)
        return str(directory)

    def write_ignored(self) -> str:
        file = self.checkout.top / "build" / f"ignored{self.dice.randrange(4)}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._text())
        return str(file)

    def write_forced(self) -> str:
        """A file that .gitignore names and git tracks all the same."""
        file = self._new("forced").with_suffix(".o")
        file.write_text(self._text())
        self.checkout.git("add", "-f", str(file))
        if self.dice.random() < 0.7:
            file.write_text(self._text())
        return str(file)

    def hold_open(self) -> str:
        """Writes without closing."""
        file = self._file()
        if file.is_symlink() or not file.is_file():
            return "nothing"
        opened = self.held.enter_context(file.open("ab", buffering=0))
        opened.write(b"held\n")
        return str(file)

    def map_shared(self) -> str:
        """Writes through memory; nobody is told when."""
        file = self._file()
        if file.is_symlink() or not file.is_file() or not file.stat().st_size:
            return "nothing"
        opened = self.held.enter_context(file.open("r+b"))
        mapped = self.held.enter_context(mmap.mmap(opened.fileno(), 0))
        mapped[0:1] = b"%d" % self.dice.randrange(10)
        return str(file)

    def let_go(self) -> str:
        self.held.close()
        return "all"

    def use_git(self) -> str:
        commands = (
            ("add", "-A"),
            ("commit", "-qam", "some", "--allow-empty"),
            ("checkout", "-q", "--", "."),
            ("reset", "-q", "--hard"),
            ("rm", "-rqf", "--cached", "--ignore-unmatch", "src"),
        )
        arguments = self.dice.choice(commands)
        if arguments[0] == "checkout" and not self.checkout.git("ls-files"):
            return "nothing"
        self.checkout.git(*arguments)
        return " ".join(arguments)

    # Elsewhere

    def co_work(self) -> str:
        """Somebody else on the same change, in a workspace of their own."""
        files = [f for f in self._files(self.co_worker) if not f.is_symlink()]
        file = self.dice.choice([*files, self.co_worker / f"theirs{self.dice.randrange(3)}"])
        deed = self.dice.randrange(4)
        if deed == 0:
            file.unlink(missing_ok=True)
        elif deed == 1 and file.exists():
            target = self.co_worker / f"their-dir{self.dice.randrange(2)}" / file.name
            target.parent.mkdir(exist_ok=True)
            file.rename(target)
        else:
            file.write_text(self._text())
        return f"{deed} {file}"

    def land(self) -> str:
        """Main moves."""
        self.landings += 1
        other = self.system.change(f"Other {self.landings}")
        name = f"landed/{self.dice.randrange(3)}/file{self.landings}"
        self.system.put(other, "create", name, self._text().encode())
        self.system.land(other)
        return name

    def api(self) -> str:
        """An operation on the change that no filesystem saw."""
        name = f"api/file{self.dice.randrange(4)}"
        for deed in ("create", "modify"):
            try:
                self.system.put(self.change, deed, name, self._text().encode())
            except Refused:
                continue
            return f"{deed} {name}"
        return "nothing"


def edit_at_random(system: System, directory: Path, steps: int, *, untracked_cache: bool) -> None:
    """Has everybody edit, and after each step asks git twice."""
    seed = random.SystemRandom().getrandbits(32)
    checkout, change = checkout_in(system, directory / "checkout")
    checkout.git("config", "core.untrackedCache", str(untracked_cache).lower())
    crowd = Crowd(system, checkout, system.workspace(change), change, random.Random(seed))
    deeds: list[str] = []
    try:
        with crowd.held:
            for _ in range(steps):
                deeds.append(crowd.act())
                assert same(checkout).asked
    except BaseException as error:
        error.add_note(f"seed {seed}, so far:\n" + "\n".join(deeds))
        raise
