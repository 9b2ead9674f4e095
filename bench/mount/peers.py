"""What is measured beside one another: the disk, two FUSE filesystems in C, and a workspace.

Each peer shows a copy of its own of one tree, so that none finds in the kernel's caches what was
read for another. All of them are on one disk. Whoever made them takes
them away by one `ExitStack`, whatever happened.
"""

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from bench.mount.tree import Tree, git
from bench.project import patchwork, serving

REMEMBERING = "attr_timeout=86400,entry_timeout=86400"
"""What fuse-overlayfs and a workspace do anyway: the kernel may keep what it was told."""

LARGE_MIB = 4096
"""Files up to this size are captured, so that a large one costs what a file costs."""


class Peer(Protocol):
    """A directory that shows the tree, and how it is used by several."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        ...

    @property
    def root(self) -> Path:
        """Where the tree is seen and worked in."""
        ...

    def another(self, files: Sequence[str]) -> Path:
        """A second place that shows at least these files and that nobody has looked into."""
        ...

    def settle(self) -> None:
        """Returns when all that was written has arrived where this peer keeps it."""
        ...


def mount(stack: ExitStack, command: Sequence[str | Path], place: Path) -> None:
    """Mounts a FUSE filesystem, which goes on in the background; the stack takes it away."""
    with (place.parent / "log").open("ab") as log:
        subprocess.run(list(map(str, command)), check=True, stdout=log, stderr=log)
    # Its process ends with the mount.
    stack.callback(subprocess.run, ["umount", "-l", str(place)], check=True)


def copy_of(tree: Tree, place: Path) -> Path:
    """Copies the tree with its repository, and lets git know the copies' inodes."""
    subprocess.run(["cp", "-a", str(tree.directory), str(place)], check=True)
    return place


class Disk:
    """The plain directory."""

    name = "ext4"

    def __init__(self, tree: Tree, room: Path) -> None:
        self.root = copy_of(tree, room / "disk")
        self._room = room
        self._others = 0

    def another(self, files: Sequence[str]) -> Path:
        self._others += 1
        place = self._room / f"disk{self._others}"
        for file in files:
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / file, place / file)
        return place

    def settle(self) -> None:
        pass


class Overlaid:
    """A filesystem in C that mounts a directory on another: ``fuse-overlayfs`` or ``bindfs``."""

    def __init__(self, name: str, tree: Tree, room: Path, stack: ExitStack) -> None:
        self.name = name
        self._room = room / name
        self._room.mkdir()
        self._stack = stack
        self._mounts = 0
        self._below = copy_of(tree, self._room / "below")
        self.root = self.another(())

    def another(self, files: Sequence[str]) -> Path:
        del files
        self._mounts += 1
        place = self._room / f"mount{self._mounts}"
        place.mkdir()
        if self.name == "bindfs":
            mount(self._stack, ["bindfs", "-o", REMEMBERING, self._below, place], place)
            return place
        upper, work = self._room / f"upper{self._mounts}", self._room / f"work{self._mounts}"
        upper.mkdir()
        work.mkdir()
        options = f"lowerdir={self._below},upperdir={upper},workdir={work}"
        mount(self._stack, ["fuse-overlayfs", "-o", options, place], place)
        return place

    def settle(self) -> None:
        pass


class Workspace:
    """A Patchwork workspace, at a directory of its own as `patchwork workspace create` makes it."""

    name = "patchwork"

    def __init__(self, tree: Tree, room: Path, stack: ExitStack) -> None:
        directory = copy_of(tree, room / "project")
        patchwork(directory, "init")
        patchwork(directory, "config", "set", "max-blob-mb", str(LARGE_MIB))
        self._project = stack.enter_context(serving(directory))
        self._others = 0
        change = self._project.create_change("Bench")
        self.root = room / "workspace"
        self._id = self._project.create_workspace(change, self.root)["id"]
        head = git(directory, "rev-parse", "HEAD").strip()
        git(self.root, "init", "-q")
        objects = self.root / ".git" / "objects" / "info" / "alternates"
        objects.write_text(f"{directory / '.git' / 'objects'}\n")
        git(self.root, "update-ref", "HEAD", head)
        # As `git commit` left it in the others: the index knows its trees' hashes.
        git(self.root, "read-tree", head)

    def another(self, files: Sequence[str]) -> Path:
        del files
        # Whoever has a place of their own works on a change of their own.
        self._others += 1
        change = self._project.create_change(f"Other {self._others}")
        return Path(str(self._project.create_workspace(change)["path"]))

    def settle(self) -> None:
        self._project.request("GET", f"workspaces/{self._id}")


def make_peers(tree: Tree, room: Path, stack: ExitStack) -> tuple[Peer, ...]:
    """All peers, ready to use; the stack takes them away."""
    return (
        Disk(tree, room),
        Overlaid("fuse-overlayfs", tree, room, stack),
        Overlaid("bindfs", tree, room, stack),
        Workspace(tree, room, stack),
    )
