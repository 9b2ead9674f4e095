"""The repository's state machine for longer."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.repo.test_machine import RepositoryMachine

EXAMPLES = 5_000 if os.environ.get("PATCHWORK_SOAK") else 600


class LongRepositoryMachine(RepositoryMachine):
    """The same machine under its own name, so that its failing examples are kept apart."""


TestLongRepository = LongRepositoryMachine.TestCase
TestLongRepository.settings = settings(
    deadline=None,
    max_examples=EXAMPLES,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)
TestLongRepository = pytest.mark.soak(pytest.mark.timeout(3_600)(TestLongRepository))
