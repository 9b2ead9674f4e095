"""How a repository begins."""

import subprocess
from pathlib import Path

import pytest

from pwfs.model.entries import Mode
from pwfs.model.errors import InvalidArgument, RepositoryExists
from pwfs.repo.importing import init
from pwfs.repo.repository import Repository
from tests.repo.support import shown


def _git(directory: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with a script, a link, an ignored file and an edit not committed."""
    project = tmp_path / "project"
    (project / "bin").mkdir(parents=True)
    (project / "bin" / "run").write_text("#!/bin/sh\n")
    (project / "bin" / "run").chmod(0o755)
    (project / "link").symlink_to("bin/run")
    (project / "ünï ©ode.txt").write_text("x\n")
    (project / ".gitignore").write_text("*.log\n")
    (project / "build.log").write_text("noise\n")
    _git(project, "init", "-q")
    _git(project, "add", ".")
    _git(project, "commit", "-qm", "one")
    (project / "bin" / "run").write_text("#!/bin/sh\nedited\n")
    return project


def test_git_checkout(checkout: Path) -> None:
    """The tracked files of HEAD become main, modes and links too; git sees nothing new."""
    report = init(checkout, agent="a")
    assert (report.source, report.files, report.skipped) == ("git", 4, [])
    repo = Repository.open(checkout)
    try:
        assert shown(repo) == {
            ".gitignore": "*.log\n",
            "bin/run": "#!/bin/sh\n",
            "link": "bin/run",
            "ünï ©ode.txt": "x\n",
        }
        modes = {str(path): entry.mode for path, entry in repo.live("main").files()}
        assert (modes["bin/run"], modes["link"]) == (Mode.EXECUTABLE, Mode.SYMLINK)
    finally:
        repo.close()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert status.stdout == " M bin/run\n"


def test_submodule_is_left_out(checkout: Path, tmp_path: Path) -> None:
    """A submodule is no content of this repository; the report names it."""
    _git(tmp_path, "clone", "-q", str(checkout), "other")
    _git(checkout, "-c", "protocol.file.allow=always", "submodule", "add", str(tmp_path / "other"))
    _git(checkout, "commit", "-qm", "two")
    report = init(checkout, agent="a")
    assert report.skipped == ["other: a submodule"]


def test_plain_directory(tmp_path: Path) -> None:
    """Elsewhere the directory's files are taken, ignore rules obeyed."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("f\n")
    (tmp_path / "d" / "keep.tmp").write_text("k\n")
    (tmp_path / "d" / "drop.tmp").write_text("d\n")
    (tmp_path / ".gitignore").write_text("*.tmp\n!keep.tmp\nout/\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "o").write_text("o\n")
    (tmp_path / "d" / ".patchworkignore").write_text("secret\n")
    (tmp_path / "d" / "secret").write_text("s\n")
    report = init(tmp_path, agent="a")
    assert report.source == "directory"
    repo = Repository.open(tmp_path)
    try:
        names = set(shown(repo))
    finally:
        repo.close()
    assert names == {".gitignore", "d/f", "d/keep.tmp", "d/.patchworkignore"}


def test_empty_and_again(tmp_path: Path) -> None:
    """A directory that is not there is made; a second init is refused and changes nothing."""
    report = init(tmp_path / "new", agent="a")
    assert (report.source, report.files, report.head_seq) == ("empty", 0, 0)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RepositoryExists):
        init(tmp_path / "new", agent="a")
    assert sorted(tmp_path.rglob("*")) == before


def test_failure_leaves_nothing(checkout: Path) -> None:
    """Where git cannot give a content, init fails and leaves no repository."""
    for file in (checkout / ".git" / "objects").glob("??/*"):
        file.unlink()
    with pytest.raises(InvalidArgument):
        init(checkout, agent="a")
    assert not (checkout / ".patchwork").exists()
