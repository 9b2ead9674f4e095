"""Lets the conformance suites, which no file pattern finds, explain their failing assertions."""

import pytest

pytest.register_assert_rewrite(
    "tests.store.conformance",
    "tests.store.conformance_blobs",
    "tests.store.conformance_ops",
    "tests.store.conformance_records",
)
