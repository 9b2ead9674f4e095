"""Builds the small native library of the mount (pwfs/fs/native) when Patchwork is installed.

It needs what pyfuse3 needs to be built: gcc, pkg-config and libfuse3-dev. Where it cannot be built
the installation goes on without it: the mount works then, but for the requests that pyfuse3 does
not know, and `patchwork doctor` says so.
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = [
    f"pwfs/fs/native/{name}.c"
    for name in ("session", "reading", "lead", "grants", "stored", "news", "answering", "ondisk")
]
LIBRARY = "pwfs/fs/native/libpatchworkfs.so"
FLAGS = [
    *("-std=c11", "-O2", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64"),
]


class NativeLibraryHook(BuildHookInterface[Any]):
    """Compiles the library beside its source and takes it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        try:
            build(root)
        except (OSError, subprocess.CalledProcessError) as error:
            # An older one might not fit the source any more.
            (root / LIBRARY).unlink(missing_ok=True)
            self.app.display_warning(f"the native library is not built: {_reason(error)}")
            return
        build_data["artifacts"].append(f"/{LIBRARY}")
        build_data["pure_python"] = False
        # It knows nothing of Python's ABI, so one wheel serves every version.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def clean(self, versions: list[str]) -> None:
        (Path(self.root) / LIBRARY).unlink(missing_ok=True)


def build(root: Path) -> None:
    """Compiles the library; it appears whole.

    Raises:
        OSError, subprocess.CalledProcessError: a tool is missing, or refused.
    """
    library = root / LIBRARY
    fuse = _run(["pkg-config", "--cflags", "--libs", "fuse3"])
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    partial = library.with_suffix(f".{os.getpid()}.tmp")
    sources = [str(root / source) for source in SOURCES]
    try:
        _run([*compiler, *FLAGS, "-o", str(partial), *sources, *shlex.split(fuse), "-ldl"])
        partial.replace(library)
    finally:
        partial.unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _reason(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return (str(error.stderr) or str(error)).strip()
    return f"{error.filename}: {error.strerror}"
