"""The guided tour plays to its end and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.timeout(120)


def _play(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def _git(directory: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


def test_the_tour(tmp_path: Path) -> None:
    """Three agents, a conflict found and resolved, three landings; afterwards all is as before."""
    project = tmp_path / "shop"
    project.mkdir()
    for name in ("README.md", "main.py"):
        (project / name).write_text("".join(f"{name} {n}\n" for n in range(20)))
    _git(project, "init", "-q")
    _git(project, "add", ".")
    _git(project, "commit", "-qm", "one")
    before = sorted(tmp_path.rglob("*"))
    done = _play(str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conflict_detected in README.md" in done.stdout
    assert "3 changes landed" in done.stdout
    assert "Nothing is left behind" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    (directory,) = {word for word in done.stdout.split() if word.endswith("/agent-1")}
    assert not Path(directory).parent.exists()
    assert directory not in Path("/proc/self/mounts").read_text()


def test_not_a_checkout(tmp_path: Path) -> None:
    """A directory that is no git checkout is refused in one line."""
    done = _play(str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip() == f"demo: {tmp_path} is not the top of a git checkout; name one"
