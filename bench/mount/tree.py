"""The tree that everything is measured on: real projects, from the registry, the same bytes for all.

Django, ansible-core and lupa (with the C sources of Lua in it) side by side as one code base, some
12,900 files in 6,000 directories, in one commit of git.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from bench.project import AUTHOR

SOURCES = Path(__file__).with_name("sources.txt")
TESTED_PROJECT = "django-5.2.8"
C_PROJECT = "lupa-2.5/third-party/lua51/src"
IGNORED = f"""*.o
*.a
*.pyc
__pycache__/
node_modules/
.venv/
/{C_PROJECT}/lua
/{C_PROJECT}/luac
"""
TINY_FILES = 60
TINY_MAKEFILE = "generic: lua.o\nlua.o:\n\tcp Makefile lua.o\nclean:\n\trm -f lua.o\n"


@dataclass(frozen=True)
class Tree:
    """A directory with a git checkout, an archive of its files, and their names."""

    directory: Path
    archive: Path
    files: tuple[str, ...]
    """Relative paths, in the order of a walk."""
    is_tiny: bool


def cache_directory() -> Path:
    """Where downloads are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(home) / "patchwork-bench"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def pip(*arguments: str | Path) -> None:
    """Runs pip quietly."""
    options = ("--disable-pip-version-check", "-qq")
    subprocess.run([sys.executable, "-m", "pip", *options, *map(str, arguments)], check=True)


def fetch(requirements: Path, destination: Path, *options: str) -> Path:
    """Downloads what a file of requirements names, unless a run before did; returns where it is."""
    marker = destination / requirements.name
    if not marker.exists() or marker.read_bytes() != requirements.read_bytes():
        shutil.rmtree(destination, ignore_errors=True)
        destination.mkdir(parents=True)
        pip("download", "--no-deps", "-d", destination, "-r", requirements, *options)
        shutil.copyfile(requirements, marker)
    return destination


def make_tree(room: Path, *, tiny: bool = False) -> Tree:
    """Makes the tree in a room; a tiny one is made up, and needs no registry."""
    directory = room / "tree"
    directory.mkdir(parents=True)
    if tiny:
        _make_up(directory)
    else:
        sdists = "--no-binary=Django,ansible-core,lupa"
        for archive in sorted(fetch(SOURCES, cache_directory() / "sources", sdists).glob("*.gz")):
            with tarfile.open(archive) as opened:
                opened.extractall(directory, filter="data")
        # Submodules' leftovers, which git would take for repositories.
        for name in (*directory.rglob(".git"), *directory.rglob(".gitignore")):
            name.unlink()
    (directory / ".gitignore").write_text(IGNORED)
    files = tuple(
        str((Path(top) / name).relative_to(directory))
        for top, _, names in os.walk(directory)
        for name in names
    )
    archive = room / "tree.tar"
    subprocess.run(["tar", "cf", str(archive), "-C", str(directory), "."], check=True)
    git(directory, "init", "-q")
    # Nothing of an object is packed or removed while something else is measured.
    git(directory, "config", "gc.auto", "0")
    git(directory, "add", "--force", ".")
    git(directory, *AUTHOR, "commit", "-qm", "The tree")
    return Tree(directory, archive, files, tiny)


def _make_up(directory: Path) -> None:
    for number in range(TINY_FILES):
        path = directory / f"dir{number // 10}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"file {number}\n" * number)
    (directory / TESTED_PROJECT / "tests").mkdir(parents=True)
    (directory / TESTED_PROJECT / "tests" / "runtests.py").write_text("import unittest\n")
    (directory / C_PROJECT).mkdir(parents=True)
    (directory / C_PROJECT / "Makefile").write_text(TINY_MAKEFILE)


def git(directory: Path, *arguments: str) -> str:
    """Runs git in a directory; returns what it prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=directory, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
