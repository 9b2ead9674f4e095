"""The tests that docs/development.md shows are tests, and pass."""

import inspect
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "development.md"
EXAMPLES = [
    code
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    if "\ndef test_" in code
]


def test_there_are_examples() -> None:
    """One for the library, one that mounts, one for the commands."""
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("code", EXAMPLES, ids=["library", "mount", "commands"])
def test_examples_pass(code: str, request: pytest.FixtureRequest) -> None:
    """Each is run with the fixtures it names."""
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    (example,) = [found for name, found in names.items() if name.startswith("test_")]
    assert callable(example)
    fixtures = inspect.signature(example).parameters
    example(**{name: request.getfixturevalue(name) for name in fixtures})
