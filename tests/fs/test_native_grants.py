"""The library's own answers, under sanitizers: nothing that the kernel could send confuses them."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "pwfs/fs/native"
DRIVERS = Path(__file__).with_name("native")
ANSWERING = "grants stored news lead answering ondisk"
TAKING = f"reading {ANSWERING}"
REQUESTS = 2_000_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 200_000
TAKEN = 3_000_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 30_000
THREADS_MS = 60_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 2_000


def run(directory: Path, driver: str, sources: str, sanitizers: str, *arguments: object) -> None:
    """Compiles a driver with some of the library's source and runs it."""
    program = directory / driver
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    flags = "-std=c11 -O1 -g -Wall -Wextra -Werror -pthread -D_FILE_OFFSET_BITS=64"
    fuse = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True
    ).stdout
    subprocess.run(
        [
            *compiler,
            *flags.split(),
            f"-fsanitize={sanitizers}",
            "-fno-sanitize-recover=all",
            f"-I{NATIVE}",
            *("-o", program, DRIVERS / f"{driver}.c"),
            *(NATIVE / f"{name}.c" for name in sources.split()),
            *shlex.split(fuse),
        ],
        check=True,
    )
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.timeout(120)
def test_no_request_is_read_beyond_its_end(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Requests at random, cut, mutated: an answer is right and whole, or there is none."""
    seed = int(request.config.getoption("hypothesis_seed"))
    run(tmp_path, "grants_driver", ANSWERING, "address,undefined", "fuzz", seed, REQUESTS)


@pytest.mark.timeout(120)
def test_threads_answer_while_others_grant(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No race, no file counted twice, no descriptor left."""
    seed = int(request.config.getoption("hypothesis_seed"))
    run(tmp_path, "grants_driver", ANSWERING, "thread", "threads", seed, THREADS_MS)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_each_request_is_answered_once(
    tmp_path: Path, request: pytest.FixtureRequest, sanitizers: str
) -> None:
    """By threads that share the waiting, and by who stands for Python, whatever the pauses."""
    seed = int(request.config.getoption("hypothesis_seed"))
    run(tmp_path, "taking_driver", TAKING, sanitizers, "takes", seed, TAKEN)


@pytest.mark.timeout(120)
def test_a_thread_that_does_not_look_does_not_keep_others(tmp_path: Path) -> None:
    """Neither one that says that it may have to wait, nor one that does not say so."""
    run(tmp_path, "taking_driver", TAKING, "thread", "lead")
