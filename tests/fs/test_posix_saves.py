"""What a file is after a save: the last one's bytes, without a conflict, and with its holes."""

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


def test_a_sparse_file_takes_as_little_room_when_it_is_closed(mounted: Mounted) -> None:
    """Blocks are counted as on disk, in the workspace and in main, so that copies keep the holes."""
    workspace = mounted.workspace()
    with (workspace / "sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end\n")
    (workspace / "full").write_bytes(b"full\n" * 400_000)
    for _ in range(2):
        for name, blocks_max in (("sparse", 1 << 11), ("full", 1 << 13)):
            status = (workspace / name).stat()
            assert 0 < status.st_blocks < blocks_max, name
        mounted.call("barrier")
        mounted.stop()
        mounted.start()
    mounted.call("land", "work", agent="tester")
    status = (mounted.main / "sparse").stat()
    assert (status.st_size, status.st_blocks < 1 << 11) == ((8 << 20) + 4, True)
