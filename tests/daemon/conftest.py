"""What the tests of the daemon start from."""

from tests.support.fixtures import bare_project, project

__all__ = ["bare_project", "project"]
