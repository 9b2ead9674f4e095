"""The fixtures that the examples of docs/development.md ask for."""

from tests.fs.conftest import mounted
from tests.repo.conftest import repo
from tests.support.fixtures import bare_project, project

__all__ = ["bare_project", "mounted", "project", "repo"]
