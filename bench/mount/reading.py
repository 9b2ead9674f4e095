"""Reading the tree: with the kernel's caches full, empty, and in a place that is new."""

import subprocess
from pathlib import Path

from bench.mount.peers import Peer
from bench.mount.rows import Measured, Row, Scenario, Work, drop_caches, timed

LOOKING = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")
GIT_STATUS = ("git", *LOOKING, "status", "--porcelain")
FIND = ("find", ".", "-name", ".git", "-prune", "-o", "-type", "f", "-print")
GREP = ("grep", "-r", "--exclude-dir=.git", "-l", "nowhere to be found, at all", ".")


def warm_calls(operation: str, work: Work, peer: Peer) -> float:
    """Seconds a call, once everything was called before."""
    work.calls(operation, work.names, 1, within=peer.root)
    return work.calls(operation, work.names, work.sizes.passes, within=peer.root).each_s


def stat_warm(work: Work, peer: Peer) -> Measured:
    """lstat(2) of every file, by relative path."""
    return {"stat": warm_calls("stat", work, peer)}


def read_warm(work: Work, peer: Peer) -> Measured:
    """Each file is opened, read to its end and closed."""
    return {"open": warm_calls("read", work, peer)}


def find_warm(work: Work, peer: Peer) -> Measured:
    """Every directory is listed; no file is looked at."""
    timed(FIND, peer.root)
    return {"find": timed(FIND, peer.root)}


def grep(place: Path) -> float:
    """Seconds of a search through all files for what none of them holds."""
    # Its exit status of 1 says that nothing was found.
    return timed(("sh", "-c", '"$@"; test $? -eq 1', "sh", *GREP), place)


def grep_warm(work: Work, peer: Peer) -> Measured:
    """Every file is searched."""
    grep(peer.root)
    return {"grep": grep(peer.root)}


def status_warm(work: Work, peer: Peer) -> Measured:
    """Git compares every file's attributes with its index; no hook tells it what changed."""
    # It may write what it learns of the inodes into its index, for the next one.
    subprocess.run(["git", "status", "--porcelain"], cwd=peer.root, check=True, capture_output=True)
    timed(GIT_STATUS, peer.root)
    return {"git-status": timed(GIT_STATUS, peer.root)}


def stat_cold(work: Work, peer: Peer) -> Measured:
    """The same with nothing in the kernel: neither of this filesystem nor of the disk below."""
    drop_caches()
    return {"stat-cold": work.calls("stat", work.names, 1, within=peer.root).each_s}


def read_cold(work: Work, peer: Peer) -> Measured:
    """As `read_warm`; the disk below has to be read, too."""
    drop_caches()
    return {"open-cold": work.calls("read", work.names, 1, within=peer.root).each_s}


def find_cold(work: Work, peer: Peer) -> Measured:
    """As `find_warm`; the disk below has to be read, too."""
    drop_caches()
    return {"find-cold": timed(FIND, peer.root)}


def read_new(work: Work, peer: Peer) -> Measured:
    """A place that nobody has looked into, on a disk whose caches are full."""
    # What lies below is cached by the kernel; what this place shows is not.
    work.calls("read", work.names, 1, within=peer.root)
    place = peer.another(work.some)
    stats = work.calls("stat", work.some_names, 1, within=place)
    reads = work.calls("read", work.some_names, 1, within=place)
    return {"stat-new": stats.each_s, "open-new": reads.each_s}


SCENARIOS = (
    Scenario((Row("stat", "stat, warm", "µs"),), stat_warm),
    Scenario((Row("open", "open+read+close, warm", "µs"),), read_warm),
    Scenario((Row("find", "find (readdir), warm", "ms"),), find_warm),
    Scenario((Row("grep", "grep -r, warm", "ms"),), grep_warm),
    Scenario((Row("git-status", "git status, warm", "ms"),), status_warm),
    Scenario((Row("stat-cold", "stat, cold", "µs"),), stat_cold),
    Scenario((Row("find-cold", "find, cold", "ms"),), find_cold),
    Scenario((Row("open-cold", "open+read+close, cold", "µs"),), read_cold),
    Scenario(
        (
            Row("stat-new", "stat, in a new mount or workspace", "µs"),
            Row("open-new", "open+read+close, the same", "µs"),
        ),
        read_new,
    ),
)
