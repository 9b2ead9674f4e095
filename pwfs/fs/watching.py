"""Tells programs that watch files of changes that came from elsewhere.

The kernel tells watchers (inotify, fanotify) what programs do through the mount, never what the
daemon changes. So a process beside the daemon (`pwfs.fs.watchproc`) goes through the mount and does
to each name what has happened to it, and its requests are answered here: as done, with the state as
it is already. While it does, the kernel holds the directory, so that nobody else sees the answers
that are made for it.

Nobody waits for this: the state has moved, and the kernel has been told, before watchers are. Names
in directories that nobody watches are passed over, so that a landing of thousands of files costs
one look at who watches.
"""

import enum
import errno
import itertools
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog
import trio
from pyfuse3 import EntryAttributes

from pwfs.fs import watchproc
from pwfs.fs.attributes import entry_attributes, negative
from pwfs.fs.invalidate import Invalidator
from pwfs.fs.nodes import Kind, Node
from pwfs.repo.health import Health

_log = structlog.get_logger(__name__)
NAMES_MAX = 50_000
"""Beyond this many names nobody has been told of yet, further ones are not told."""
TRIES_MAX = 3
_REST_FACTOR = 9
"""How much longer than a look at who watches the pause after it is at least."""
_GHOST_INOS = itertools.count(1 << 63)
_FRAME_BYTES_MAX = 1 << 26
_NOBODY = -1


class Verb(enum.Enum):
    """What the process does through the mount."""

    PROBE = "probe"
    MAKE_FILE = "mknod"
    MAKE_DIRECTORY = "mkdir"
    MAKE_LINK = "symlink"
    TOUCH = "touch"
    REMOVE = "unlink"
    REMOVE_DIRECTORY = "rmdir"
    LOSE = "lose"


_MAKING = {
    Kind.FILE: Verb.MAKE_FILE,
    Kind.LINK: Verb.MAKE_LINK,
    Kind.DIRECTORY: Verb.MAKE_DIRECTORY,
}
_REMOVING = {
    Kind.FILE: Verb.REMOVE,
    Kind.LINK: Verb.REMOVE,
    Kind.DIRECTORY: Verb.REMOVE_DIRECTORY,
}


@dataclass(frozen=True, slots=True)
class _Step:
    """What the process has been asked to do, and may be answered for.

    ``lost`` is the file that a made-up name leads to while that is taken away.
    """

    verb: Verb
    directory: Node
    name: str
    lost: Node | None = None


class Announcer:
    """The names to tell watchers of, and the process that does it."""

    def __init__(
        self, mountpoint: Path, top: Node, invalidator: Invalidator, health: Health
    ) -> None:
        self._mountpoint = mountpoint
        self._top = top
        self._invalidator = invalidator
        self._duty = health.duty("watchers", "watchers are not told of changes")
        self._names: dict[tuple[Node, str], Kind | None] = {}
        self._lost: dict[Node, None] = {}
        self._woken = trio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._to: trio.lowlevel.FdStream | None = None
        self._from: trio.lowlevel.FdStream | None = None
        self._step: _Step | None = None
        self._is_known = False
        self._is_of_use = True
        self._device = 0
        self._rest_s = 0.0
        self._running = trio.CancelScope()
        self._stopped = trio.Event()
        self.pid = _NOBODY
        """The process whose requests are answered here."""

    def changed(self, directory: Node, name: str, before: Kind | None) -> None:
        """Takes note that somebody elsewhere changed what a name leads to.

        ``before`` is what stood there; what does now is looked up when watchers are told.
        """
        if len(self._names) >= NAMES_MAX or not self._is_of_use:
            return
        self._names.setdefault((directory, name), before)
        self._woken.set()

    def lost(self, node: Node) -> None:
        """Takes note that a file, or a link, lost a name to what somebody did elsewhere."""
        if len(self._lost) >= NAMES_MAX or not self._is_of_use or not node.lookups:
            return
        self._lost[node] = None
        self._woken.set()

    async def run(self) -> None:
        """Tells watchers of names as they come; until cancelled, or stopped."""
        with self._running:
            await self._run()
        self._stopped.set()

    async def stop(self) -> None:
        """Ends the process; nobody is told of anything any more."""
        self._is_of_use = False
        self._running.cancel()
        await self._stopped.wait()

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                await self._woken.wait()
                self._woken = trio.Event()
                with self._duty.attempt() as attempt:
                    try:
                        await self._announce_all()
                    except OSError:
                        failures += 1
                        if failures == TRIES_MAX:
                            raise
                        _log.info("the process that tells watchers is started anew")
                        await self._end()
                        self._woken.set()
                    else:
                        failures = 0
                if attempt.error is not None:
                    await self._end()
                    self._drop_all()
                    failures = 0
                if not self._is_of_use:
                    _log.warning("watchers are not told of changes: PID namespaces differ")
                    self._drop_all()
                    return
                await trio.sleep(self._rest_s)
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    def _drop_all(self) -> None:
        self._names.clear()
        self._lost.clear()

    # Answering the process

    def looked_up(self, directory: Node, name: str) -> EntryAttributes | None:
        """Answers the process's look-up of a name; None for what anybody would be answered."""
        step = self._step
        if step is None or step.directory is not directory or step.name != name:
            return None
        match step.verb:
            case Verb.PROBE:
                self._is_known = True
                return _nothing()
            case Verb.MAKE_FILE | Verb.MAKE_LINK | Verb.MAKE_DIRECTORY:
                return _nothing()
            case Verb.REMOVE | Verb.REMOVE_DIRECTORY:
                is_there = directory.space.child(directory, name) is not None
                return None if is_there else _ghost(step.verb is Verb.REMOVE_DIRECTORY)
            case Verb.LOSE:
                assert step.lost is not None
                return _one_name_more(step.lost) if _is_known(step.lost) else _nothing()
            case Verb.TOUCH:
                return None

    def expects(self, verb: Verb, directory: Node, name: str) -> bool:
        """Whether the process was asked for this."""
        step = self._step
        return (
            step is not None
            and (Verb.REMOVE if step.verb is Verb.LOSE else step.verb) is verb
            and (step.directory, step.name) == (directory, name)
        )

    def expects_touch(self, node: Node) -> bool:
        """Whether the process was asked to open this file as if for writing."""
        step = self._step
        return (
            step is not None
            and step.verb is Verb.TOUCH
            and (step.directory, step.name) in (list(node.names()))
        )

    # Telling

    async def _announce_all(self) -> None:
        # What the kernel remembers of the old state is gone before a watcher hears of the new.
        await self._invalidator.drain()
        await self._start()
        if not self._is_of_use:
            return
        began = trio.current_time()
        watched = set((await self._ask("scan", str(self._device))).split())
        self._rest_s = (trio.current_time() - began) * _REST_FACTOR
        for node in list(self._lost):
            # One whose name the kernel had in its cache is not watched any more, unless it is open.
            if f"{node.ino:x}" in watched and _is_known(node):
                await self._lose(node)
            del self._lost[node]
        names, self._names = self._names, {}
        try:
            for (directory, name), before in _in_order(names):
                if watchproc.ANY in watched or f"{directory.ino:x}" in watched:
                    await self._announce(directory, name, before)
                del names[directory, name]
        finally:
            self._names = {**self._names, **names}

    async def _announce(self, directory: Node, name: str, before: Kind | None) -> None:
        if directory.space.is_gone or not directory.is_attached:
            return
        node = directory.space.child(directory, name)
        now = node.kind if node is not None else None
        if Kind.SCRATCH in (before, now):
            return
        # A program cannot be run while somebody has it open for writing, be it for a moment.
        may_be_run = now is Kind.FILE and node is not None and _is_executable(node)
        directory.space.table.drop_unused(node)
        if before is not None and (before is not now or now is Kind.LINK or may_be_run):
            await self._do(_REMOVING[before], directory, name)
            before = None
        if now is None:
            return
        if before is None:
            await self._do(_MAKING[now], directory, name)
        if now is Kind.FILE and not may_be_run:
            await self._do(Verb.TOUCH, directory, name)

    async def _lose(self, node: Node) -> None:
        """Tells who watches a file itself, by one name more, which nobody knows, and is removed."""
        name = f".patchwork-{secrets.token_hex(8)}"
        self._step = _Step(Verb.LOSE, self._top, name, node)
        try:
            await self._ask(Verb.LOSE.value, name)
        finally:
            self._step = None

    async def _do(self, verb: Verb, directory: Node, name: str) -> None:
        for _ in range(TRIES_MAX):
            if directory.space.is_gone or not directory.is_attached:
                return
            place = f"{directory.space.place}/{directory.path}".rstrip("/")
            self._step = _Step(verb, directory, name)
            try:
                answer = await self._ask(verb.value, place, name, str(directory.ino))
            finally:
                self._step = None
            if int(answer) not in (errno.EEXIST, errno.ENOENT):
                return
            # Somebody looked the name up in between, so that the kernel knows it as it is now.
            self._invalidator.entry(directory.ino, name)
            await self._invalidator.drain()

    # The process

    async def _start(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            await self._end()
        self._process = await trio.to_thread.run_sync(self._spawn)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to = trio.lowlevel.FdStream(os.dup(self._process.stdin.fileno()))
        self._from = trio.lowlevel.FdStream(os.dup(self._process.stdout.fileno()))
        self._ask_by(self._process.pid)
        probe = f".patchwork-{secrets.token_hex(8)}"
        self._is_known = False
        self._step = _Step(Verb.PROBE, self._top, probe)
        try:
            await self._ask(Verb.PROBE.value, probe)
        finally:
            self._step = None
        # Its requests may come under another number, as from another PID namespace.
        self._is_of_use = self._is_known

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Looks into our own mount, so in a thread.
        device = self._mountpoint.stat().st_dev
        self._device = os.major(device) << 20 | os.minor(device)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", watchproc.__file__, os.fspath(self._mountpoint)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    async def _ask(self, *fields: str) -> str:
        assert self._to is not None
        assert self._from is not None
        data = "\0".join(fields).encode()
        try:
            await self._to.send_all(len(data).to_bytes(4, "little") + data)
            size = int.from_bytes(await self._receive(4), "little")
            if size > _FRAME_BYTES_MAX:
                raise ConnectionError("the process beside the daemon answers nonsense")
            return (await self._receive(size)).decode()
        except trio.BrokenResourceError as error:
            raise ConnectionResetError("the process beside the daemon ended") from error

    async def _receive(self, size: int) -> bytes:
        assert self._from is not None
        data = b""
        while len(data) < size:
            more = await self._from.receive_some(size - len(data))
            if not more:
                raise ConnectionResetError("the process beside the daemon ended")
            data += more
        return data

    def _ask_by(self, pid: int) -> None:
        self.pid = pid
        self._top.space.table.grants.pass_on(pid)

    async def _end(self) -> None:
        self._ask_by(_NOBODY)
        for stream in (self._to, self._from):
            if stream is not None:
                with trio.move_on_after(0):
                    await stream.aclose()
        self._to = self._from = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await trio.to_thread.run_sync(process.communicate)


def _is_executable(node: Node) -> bool:
    return bool(node.space.attributes(node).st_mode & 0o111)


def _in_order(
    names: dict[tuple[Node, str], Kind | None],
) -> list[tuple[tuple[Node, str], Kind | None]]:
    """What vanished first, from below; then the rest, from above."""

    def depth(item: tuple[tuple[Node, str], Kind | None]) -> int:
        (directory, _), _ = item
        return directory.path.count("/") if directory.is_attached else 0

    def is_gone(item: tuple[tuple[Node, str], Kind | None]) -> bool:
        (directory, name), _ = item
        if not directory.is_attached:
            return False
        node = directory.space.child(directory, name)
        directory.space.table.drop_unused(node)
        return node is None

    gone = [item for item in names.items() if is_gone(item)]
    rest = [item for item in names.items() if not is_gone(item)]
    return sorted(gone, key=depth, reverse=True) + sorted(rest, key=depth)


def _is_known(node: Node) -> bool:
    """Whether the kernel has this inode, so that somebody may watch it."""
    table = node.space.table
    return not node.space.is_gone and table.peek(node.ino) is node and node.lookups > 0


def _one_name_more(node: Node) -> EntryAttributes:
    """The answer that a name leads to a file beside its others; it counts as a look-up."""
    attributes = node.space.attributes(node)
    attributes.st_nlink = node.link_count + 1
    attributes.entry_timeout = attributes.attr_timeout = 0
    node.lookups += 1
    return attributes


def _nothing() -> EntryAttributes:
    """The answer that a name does not exist, which the kernel must not remember."""
    attributes = negative()
    attributes.entry_timeout = 0
    return attributes


def _ghost(is_directory: bool) -> EntryAttributes:
    """The answer that something is there to be removed, which the kernel must not remember."""
    attributes = entry_attributes(
        next(_GHOST_INOS),
        (0o040700 if is_directory else 0o100600),
        links=2 if is_directory else 1,
        uid=os.getuid(),
        gid=os.getgid(),
        size=0,
        atime_ns=0,
        mtime_ns=0,
        ctime_ns=0,
    )
    attributes.entry_timeout = attributes.attr_timeout = 0
    return attributes
