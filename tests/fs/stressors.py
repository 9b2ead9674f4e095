"""Debian's stress-ng and fio in a workspace: which of their tests, how long, what counts as failed.

stress-ng's filesystem class, and those of its others that work on files, but for what has no meaning
below a directory; docs/conformance.md says why each that is missing is missing.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

GROUPS = {
    "names": ["dentry", "dir", "dirdeep", "dirmany", "filename", "link", "rename", "symlink"],
    "attributes": ["access", "chmod", "chown", "fstat", "touch", "utime", "xattr", "inode-flags"],
    "opening": ["chdir", "dup", "fcntl", "getdent", "handle", "mknod", "open", "chattr"],
    "locks": ["flock", "lease", "locka", "lockf", "lockofd", "inotify", "dnotify"],
    "sizes": ["fallocate", "fpunch", "fsize", "file-ioctl", "full"],
    "contents": ["copy-file", "hdd", "io", "iomix", "readahead", "revio", "seek", "sync-file"],
    "mappings": ["fault", "mmap", "mmapmany", "msync", "msyncmany", "rmap"],
    "transfers": ["aio", "aiol", "sendfile", "splice"],
}

METRICS_UNTRUSTWORTHY = 7
"""stress-ng's status where a stressor was stopped between two of its steps: only its count is off."""


def stress(place: Path, stressors: list[str], *, seconds: int, together: bool) -> None:
    """Runs stressors, all at once or one after the other, and what they leave is nothing.

    Raises:
        AssertionError: one found something, was killed, or left a name behind.
    """
    groups = [stressors] if together else [[each] for each in stressors]
    before = sorted(path.name for path in place.iterdir())
    for group in groups:
        options = [part for each in group for part in (f"--{each}", "1")]
        done = subprocess.run(
            ["stress-ng", "--temp-path", place, "--verify", "--timeout", str(seconds), *options],
            capture_output=True,
            text=True,
            timeout=60 + 10 * seconds,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode in (0, METRICS_UNTRUSTWORTHY), told[-3000:]
        assert "fail:" not in told, told[-3000:]
    assert sorted(path.name for path in place.iterdir()) == before


def verified(place: Path, name: str, **options: object) -> dict[str, Any]:
    """Writes with fio and has it verify every block; returns what it says of the job.

    Raises:
        AssertionError: a block was not what was written.
    """
    wanted = {
        "name": name,
        "directory": place,
        "verify_fatal": 1,
        "do_verify": 1,
        "verify_state_save": 0,
        "group_reporting": 1,
        "output-format": "json",
        **options,
    }
    done = subprocess.run(
        ["fio", *(f"--{key}={value}" for key, value in wanted.items())],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    (job,) = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
    assert job["error"] == 0
    found: dict[str, Any] = job
    return found
