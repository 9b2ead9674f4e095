"""Saves that follow one another at once: the later one is what the file has, and no conflict."""

import os

from tests.fs.conftest import Mounted


def test_a_new_file_is_written_again_before_it_is_logged(mounted: Mounted) -> None:
    """A second save of a file that was closed a moment ago is not merged with the first."""
    workspace = mounted.workspace()
    (workspace / "new").write_bytes(b"one\n" * 400_000)
    fd = os.open(workspace / "new", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"two\n" * 300_000)
    os.fsync(fd)
    os.close(fd)
    assert (workspace / "new").read_bytes() == b"two\n" * 300_000
    assert mounted.read("ws-work", "new") == b"two\n" * 300_000
    (workspace / "new").unlink()
