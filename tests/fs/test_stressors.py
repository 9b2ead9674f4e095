"""Other people's stress tests in a workspace, on versioned files and on ignored ones.

What the log, the mount and ``at/`` say is checked after each, as after every test.
"""

import pytest

from tests.fs.conftest import Mounted
from tests.fs.stressors import GROUPS, stress, verified

FIO: dict[str, dict[str, object]] = {
    "sequential": {"rw": "write", "bs": "64k", "ioengine": "psync", "verify": "sha256"},
    "random": {"rw": "randwrite", "bs": "4k", "ioengine": "psync", "verify": "crc32c", "fsync": 64},
    "mapped": {"rw": "randwrite", "bs": "4k", "ioengine": "mmap", "verify": "crc32c"},
    "asynchronous": {
        "rw": "randrw",
        "bsrange": "512-32k",
        "ioengine": "libaio",
        "iodepth": 8,
        "verify": "crc32c",
    },
    "appended": {"rw": "write", "bs": "3k", "ioengine": "sync", "verify": "md5", "fdatasync": 16},
}
PLACES = ["", "build"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("group", GROUPS)
def test_stressors_find_nothing(mounted: Mounted, group: str) -> None:
    """A group of stress-ng's at once, for a second."""
    ws = mounted.workspace()
    stress(ws, GROUPS[group], seconds=1, together=True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("job", FIO)
def test_what_fio_wrote_is_there(mounted: Mounted, job: str) -> None:
    """Every block, by several processes in files of their own, versioned and ignored."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    for place in PLACES:
        options = {**FIO[job], "size": "2m", "numjobs": 2}
        assert verified(ws / place, job, **options)["write"]["total_ios"] > 0


@pytest.mark.timeout(180)
def test_a_file_that_grows_above_the_limit_keeps_its_blocks(mounted: Mounted) -> None:
    """Above max-blob-mb it moves from the log to scratch while fio writes and syncs."""
    mounted.call("set_setting", "max-blob-mb", 8)
    ws = mounted.workspace()
    options: dict[str, object] = {
        "rw": "write",
        "bs": "256k",
        "size": "20m",
        "verify": "sha256",
        "fsync": 8,
    }
    verified(ws, "large", ioengine="psync", **options)
    (large,) = [path for path in ws.iterdir() if path.name.startswith("large")]
    assert large.name not in mounted.files()
    verified(ws, "large", ioengine="psync", **{**options, "rw": "randwrite"})


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("group", GROUPS)
def test_stressors_find_nothing_for_long(mounted: Mounted, group: str, place: str) -> None:
    """Each stressor of a group for ten seconds, then all of them at once for a minute."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    stress(ws / place, GROUPS[group], seconds=10, together=False)
    stress(ws / place, GROUPS[group], seconds=60, together=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("job", FIO)
def test_what_fio_wrote_is_there_for_long(mounted: Mounted, job: str) -> None:
    """Files below the limit of 100 MB and above it."""
    ws = mounted.workspace()
    (ws / "build").mkdir()
    for place in PLACES:
        for size in ("60m", "150m"):
            verified(ws / place, f"{job}-{size}", **{**FIO[job], "size": size, "numjobs": 2})
