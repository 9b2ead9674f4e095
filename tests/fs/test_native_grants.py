"""The library's own answers, under sanitizers: nothing that the kernel could send confuses them."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "pwfs/fs/native"
DRIVER = Path(__file__).with_name("native") / "grants_driver.c"
REQUESTS = 2_000_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 200_000
THREADS_MS = 60_000 if os.environ.get("PATCHWORK_SOAK") == "1" else 2_000


def run(directory: Path, sanitizers: str, *arguments: object) -> None:
    """Compiles the driver with the library's source and runs it."""
    program = directory / "driver"
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    flags = "-std=c11 -O1 -g -Wall -Wextra -Werror -pthread -D_FILE_OFFSET_BITS=64"
    subprocess.run(
        [
            *compiler,
            *flags.split(),
            f"-fsanitize={sanitizers}",
            "-fno-sanitize-recover=all",
            f"-I{NATIVE}",
            *("-o", program, DRIVER),
            *(NATIVE / f"{name}.c" for name in ("grants", "stored", "news", "answering", "ondisk")),
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
    run(tmp_path, "address,undefined", "fuzz", seed, REQUESTS)


@pytest.mark.timeout(120)
def test_threads_answer_while_others_grant(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No race, no file counted twice, no descriptor left."""
    seed = int(request.config.getoption("hypothesis_seed"))
    run(tmp_path, "thread", "threads", seed, THREADS_MS)
