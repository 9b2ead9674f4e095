"""Fixtures around `tests.support.project`; a conftest.py imports those it offers its tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import Project, temporary_project


@pytest.fixture
def bare_project(tmp_path: Path) -> Iterator[Project]:
    """A directory that is no repository yet."""
    with temporary_project(tmp_path / "project") as found:
        yield found


@pytest.fixture
def project(bare_project: Project) -> Project:
    """An empty repository; its daemon is not running yet."""
    bare_project.patchwork("init")
    return bare_project
