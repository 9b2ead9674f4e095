"""What the tests of the whole start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.people import System, system_in

LINES = "".join(f"line {number}\n" for number in range(40))


FILES: dict[str, str | bytes] = {
    "README.md": "hello\n",
    "src/app.py": LINES,
    "src/lib/util.py": LINES,
    "data.bin": bytes(range(256)) * 40,
    ".gitignore": "*.o\nbuild/\n",
}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A small repository with its daemon; checked and stopped afterwards."""
    with system_in(tmp_path / "repo", FILES) as found:
        yield found
