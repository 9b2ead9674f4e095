"""Owns the daemon's long-lived tasks: what starts after what, and what ends before what.

The mount outlives everything else, because tests run in it and the last writes come through it.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio

from pwfs.fs import attach as attaching
from pwfs.fs.mount import Mount, default_mountpoint
from pwfs.model.errors import Corrupt, MountUnavailable, PatchworkError
from pwfs.repo import Repository
from pwfs.repo.config import Config
from pwfs_daemon import __version__
from pwfs_daemon.flusher import keep_on_disk
from pwfs_daemon.runner import QueueRunner
from pwfs_daemon.sockets import bind_tcp, bind_unix, format_address
from pwfs_daemon.succession import Stop, Succession
from pwfs_daemon.targeting import TargetFinder
from pwfs_daemon.watcher import watch_conflicts
from pwfs_daemon.web.app import create_application
from pwfs_daemon.web.serve import serve_socket
from pwfs_daemon.web.services import Services
from pwfs_daemon.web.transport import Transport
from pwfs_daemon.whereabouts import Whereabouts, device_of, publish, withdraw
from pwfs_daemon.wiring import RunnerRepository, WorkspacePaths

log = structlog.get_logger(__name__)
# SIGHUP is what a closed terminal sends.
_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
RESTART = signal.SIGUSR2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the daemon is told when it starts; None means the default.

    ``open_files`` is how many files a test of the queue may have open, None as many as the daemon.
    """

    directory: Path
    address: str | None = None
    mountpoint: Path | None = None
    succession: Succession | None = None
    open_files: int | None = None


@dataclass(slots=True)
class Sockets:
    """The listening sockets; ``path`` is the Unix one's, which stays if they are kept."""

    path: Path
    unix: socket.socket
    tcp: socket.socket
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How the daemon ended; ``succession`` is what a restart in place goes on with."""

    is_restart: bool
    succession: Succession | None = None


async def supervise(options: Options, announce: Callable[[Whereabouts], None]) -> End:
    """Serves a repository until a signal of `_STOP`, or until `RESTART` asks for a restart.

    Raises:
        PatchworkError: it cannot be served; nothing of the attempt is left.
    """
    try:
        repo = Repository.open(options.directory)
        try:
            return await _serve(repo, options, announce)
        finally:
            repo.close()
    except BaseExceptionGroup as group:
        expected = _expected(group)
        if expected is None:
            raise
        raise expected from group


async def _serve(
    repo: Repository, options: Options, announce: Callable[[Whereabouts], None]
) -> End:
    stop = Stop()
    taken = options.succession.mount if options.succession is not None else None
    mount = Mount(repo, options.mountpoint or default_mountpoint(repo.root), taken)
    succession: Succession | None = None
    async with trio.open_nursery() as outer:
        await outer.start(_set_on_signal, stop)
        try:
            succession = await _serve_mounted(repo, options, mount, announce, stop)
        finally:
            if succession is None and not stop.is_restart:
                with trio.CancelScope(shield=True):
                    is_own = options.mountpoint is None
                    await trio.to_thread.run_sync(_give_back, mount.mountpoint, is_own)
        outer.cancel_scope.cancel()
    log.info("restarting" if stop.is_restart else "stopped", in_place=succession is not None)
    return End(stop.is_restart, succession)


async def _serve_mounted(
    repo: Repository,
    options: Options,
    mount: Mount,
    announce: Callable[[Whereabouts], None],
    stop: Stop,
) -> Succession | None:
    succession: Succession | None = None
    if options.mountpoint is None:
        aside = await trio.to_thread.run_sync(attaching.empty, mount.mountpoint)
        if aside is not None:
            log.warning(
                "programs wrote into the mount point while nothing was mounted there",
                moved_to=aside,
            )
    async with trio.open_nursery() as mounts:
        await mounts.start(_keep_mounted, mount, stop)
        with _bind(repo, options) as sockets:
            queue, paths = RunnerRepository(repo), WorkspacePaths(mount.mountpoint)
            runner = QueueRunner(queue, paths, open_files=options.open_files)
            finder = TargetFinder(queue, paths, open_files=options.open_files)
            await _run_doors(repo, mount, sockets, (runner, finder), announce, stop)
            # Nothing may take this from the last writes: not even a second signal.
            with trio.CancelScope(shield=True):
                with trio.move_on_after(10):
                    await mount.capture_all()
                if stop.is_restart:
                    succession = await _hand_over(mount, sockets)
        mounts.cancel_scope.cancel()
    return succession


async def _hand_over(mount: Mount, sockets: Sockets) -> Succession | None:
    """Keeps the mount and the sockets for the program that this process runs next."""
    handed = await mount.hand_over()
    if handed is None:
        log.info("the mount cannot be kept over the restart: programs in it will get an error")
        return None
    sockets.is_kept = True
    return Succession(handed, os.dup(sockets.unix.fileno()), os.dup(sockets.tcp.fileno()))


async def _run_doors(
    repo: Repository,
    mount: Mount,
    sockets: Sockets,
    queue: tuple[QueueRunner, TargetFinder],
    announce: Callable[[Whereabouts], None],
    stop: Stop,
) -> None:
    runner, finder = queue
    http = f"http://{format_address(sockets.tcp)}"
    services = Services(repo, mount, runner, token=_token(repo), http=http)
    application = create_application(services)
    # The workers' nursery is the inner one: cancelling it leaves the servers their grace.
    async with trio.open_nursery() as doors:
        for listener, transport in ((sockets.unix, Transport.UNIX), (sockets.tcp, Transport.TCP)):
            await doors.start(partial(serve_socket, application, services, listener, transport))
        async with trio.open_nursery() as workers:
            await workers.start(runner.run)
            await workers.start(finder.run)
            workers.start_soon(watch_conflicts, repo)
            workers.start_soon(keep_on_disk, repo)
            whereabouts = Whereabouts(
                pid=os.getpid(),
                repository=str(repo.root),
                socket=str(sockets.path),
                http=http,
                mount=str(mount.mountpoint),
                device=await trio.to_thread.run_sync(device_of, mount.mountpoint),
                version=__version__,
            )
            publish(repo.state_dir, whereabouts)
            try:
                log.info("ready", http=http, socket=str(sockets.path), mount=str(mount.mountpoint))
                announce(whereabouts)
                await stop.wait()
            finally:
                if not stop.is_restart:
                    # During a restart in place, who connects waits until it is over.
                    withdraw(repo.state_dir, whereabouts)
            services.stopping.set()
            workers.cancel_scope.cancel()


def _give_back(mountpoint: Path, is_own: bool) -> None:
    """Leaves a mount point as it was; one of ours goes, unless it is still busy."""
    with contextlib.suppress(OSError):
        attaching.uncover(mountpoint)
        if is_own:
            mountpoint.rmdir()


@contextmanager
def _bind(repo: Repository, options: Options) -> Iterator[Sockets]:
    """Listens on both sockets for as long as the context lasts.

    The Unix socket is found beside the default mount point, wherever the mount itself is.
    """
    place = default_mountpoint(repo.root)
    path = place.with_name(f"{place.name}.sock")
    kept = options.succession
    unix = bind_unix(path) if kept is None else socket.socket(fileno=kept.unix_fd)
    sockets: Sockets | None = None
    try:
        with unix, _bind_tcp(repo, options) as tcp:
            sockets = Sockets(path, unix, tcp)
            yield sockets
    finally:
        unix.close()
        if sockets is None or not sockets.is_kept:
            path.unlink(missing_ok=True)


def _bind_tcp(repo: Repository, options: Options) -> socket.socket:
    if options.succession is not None:
        return socket.socket(fileno=options.succession.tcp_fd)
    address = options.address or repo.config.http_addr
    is_explicit = options.address is not None or address != Config().http_addr
    return bind_tcp(address, is_explicit=is_explicit)


def _token(repo: Repository) -> str:
    try:
        return (repo.state_dir / "token").read_text().strip()
    except OSError as error:
        raise Corrupt(what=f"The token cannot be read: {error}") from error


async def _set_on_signal(
    stop: Stop, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(*_STOP, RESTART) as signals:
        task_status.started()
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            stop.set(is_restart=number == RESTART)


async def _keep_mounted(mount: Mount, stop: Stop, *, task_status: trio.TaskStatus[None]) -> None:
    """Runs the mount, which must not end before the daemon does."""
    await mount.run(task_status=task_status)
    if not stop.is_set():
        raise MountUnavailable(
            reason=f"{mount.mountpoint} was unmounted while the daemon ran",
            advice="Any patchwork command mounts it again",
        )


def _expected(group: BaseExceptionGroup[BaseException]) -> PatchworkError | None:
    """Finds the one expected failure in what the nurseries wrapped it into."""
    for error in group.exceptions:
        found = _expected(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, PatchworkError):
            return found
    return None
