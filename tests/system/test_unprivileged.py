"""Without root: mounted by fusermount3, workspaces as symbolic links, one user's only."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
USER = "65534"
# A mount namespace of its own, in which any user may open /dev/fuse as on an ordinary machine. The
# user may read everything, so that it does not matter where the checkout and Python are.
SCRIPT = """
set -eu
mknod "$1/fuse" c 10 229
chmod 666 "$1/fuse"
mount --bind "$1/fuse" /dev/fuse
exec setpriv --reuid "$2" --regid "$2" --clear-groups \\
    --inh-caps=+dac_read_search --ambient-caps=+dac_read_search \\
    "$3" -m tests.system.unprivileged "$1/home"
"""


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A temporary directory that every user may pass through; pytest's own are root's."""
    with tempfile.TemporaryDirectory(prefix="patchwork-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_user_without_privileges(open_path: Path) -> None:
    """Workspaces, co-workers, watchers, a killed daemon and what was open, all without root."""
    if os.geteuid() != 0:
        pytest.fail("making a namespace takes root; run these tests as root")
    for name in ("home", "run"):
        place = open_path / name
        place.mkdir(mode=0o700)
        os.chown(place, int(USER), int(USER))
    environment = {
        **os.environ,
        "HOME": str(open_path / "home"),
        "XDG_RUNTIME_DIR": str(open_path / "run"),
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "daemon", "cli")),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    namespace = ["unshare", "--mount", "--propagation", "private"]
    done = subprocess.run(
        [*namespace, "sh", "-c", SCRIPT, "sh", str(open_path), USER, sys.executable],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
