"""What a disk, or somebody, may do to a stored content."""

import os
from pathlib import Path


def damage(kind: str, file: Path) -> None:
    """Does to a blob's file what a disk, or somebody, may do."""
    content = file.read_bytes()
    file.chmod(0o600)
    if kind == "flipped":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif kind == "cut":
        file.write_bytes(content[:-3])
    elif kind == "zeros":
        file.write_bytes(bytes(len(content)))
    elif kind == "same times":
        status = file.stat()
        file.write_bytes(content.upper())
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        file.unlink()
    if kind == "directory":
        file.mkdir()
        (file / "in it").touch()
    elif kind == "link":
        file.symlink_to("/etc/passwd")
    elif kind == "dangling":
        file.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(file)


DAMAGES = ["flipped", "cut", "zeros", "same times", "directory", "link", "dangling", "fifo", "gone"]
