"""Repositories for tests of the library."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pwfs.repo.repository import Repository
from tests.repo.support import make_repository

LINES = "".join(f"line {number}\n" for number in range(10))


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """A repository of a few files, sound at the end."""
    from pwfs.repo.certifying import verify
    from pwfs.repo.checking import fsck

    opened = make_repository(
        tmp_path / "project", {"README": LINES, "src/app.py": "print(1)\n", "src/b.py": "b\n"}
    )
    yield opened
    report, verified = fsck(opened), verify(opened)
    opened.close()
    assert report.is_clean, report.problems
    assert not verified.problems
