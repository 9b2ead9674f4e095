"""Editors that stay open for a while, with what they keep beside the file."""

import subprocess
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted

pytestmark = pytest.mark.timeout(60)


VIM = ["vim.basic", "-N", "-u", "NONE", "-i", "NONE", "-es"]


def edit(commands: str, *files: str, cwd: Path) -> None:
    """Has vim carry out commands, a line each."""
    done = subprocess.run(
        [*VIM, *files], cwd=cwd, input=commands, text=True, check=False, timeout=50
    )
    assert done.returncode == 0


def test_several_files_and_several_saves(mounted: Mounted) -> None:
    """Each write of a session is one operation of its file."""
    ws = mounted.workspace()
    lines = (
        "set backupskip= undofile",
        "edit README.md",
        "%s/hello/first/",
        "write",
        "edit src/app.py",
        "normal ggdd",
        "write",
        "edit README.md",
        "%s/first/second/",
        "write",
        "saveas NOTES.md",
        "write new.txt",
        "quitall!",
    )
    edit("\n".join(lines) + "\n", cwd=ws)
    files: dict[str, list[str]] = {path: [] for _, path in mounted.ops()}
    for op_type, path in mounted.ops():
        files[path].append(op_type)
    assert files.pop("README.md") == ["modify", "modify"]
    assert files.pop("src/app.py") == ["modify"]
    assert files.pop("NOTES.md") == ["create"]
    assert files.pop("new.txt") == ["create"]
    # A session is longer than a moment: what vim keeps beside the files is logged, too.
    assert all(path.endswith((".un~", ".swp")) for path in files), files
    assert (ws / "README.md").read_text() == "second\n"
    assert (ws / "src/app.py").read_text().startswith("two\n")


def test_a_swap_file_recovers_what_was_not_saved(mounted: Mounted) -> None:
    """vim killed in the middle of editing, and the daemon too: vim -r gives the text back."""
    ws = mounted.workspace()
    with subprocess.Popen([*VIM, "README.md"], cwd=ws, stdin=subprocess.PIPE, text=True) as vim:
        assert vim.stdin is not None
        vim.stdin.write("normal onever saved\npreserve\n!touch ready.log\n")
        vim.stdin.flush()
        while not (ws / "ready.log").exists():
            assert vim.poll() is None
        vim.kill()
    mounted.kill()
    mounted.start()
    edit("write! found.log\nquitall!\n", "-r", "README.md", cwd=ws)
    assert "never saved" in (ws / "found.log").read_text()
    assert (ws / "README.md").read_text() == "hello\n"
