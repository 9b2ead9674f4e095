"""What is installed while it is measured: wheels and npm packages, fetched once and kept.

For a tiny tree a package of each kind is made up, and no registry is asked.
"""

import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

from bench.mount.rows import Work
from bench.mount.tree import cache_directory, fetch

WHEELS = Path(__file__).with_name("wheels.txt")
NPM_PACKAGES = {"date-fns": "4.1.0", "lodash": "4.17.21", "typescript": "5.6.3"}
"""None of them depends on another, so one list of versions says all."""

NPM_SETTINGS = {"audit": "false", "fund": "false", "update_notifier": "false", "loglevel": "error"}


def wheels(work: Work) -> Path:
    """A directory of wheels, and `wheels.txt` in it, which names them."""
    if work.tree.is_tiny:
        return _tiny_wheels(work.room / "wheels")
    return fetch(WHEELS, cache_directory() / "wheels", "--only-binary=:all:")


def _tiny_wheels(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    about = "tiny-1.dist-info"
    with zipfile.ZipFile(directory / "tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "size = 'tiny'\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", f"tiny.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n")
    (directory / WHEELS.name).write_text("tiny==1\n")
    return directory


def npm_environment(cache: Path) -> dict[str, str]:
    """The variables by which npm says little and keeps what it fetches in a place of ours."""
    settings = {**NPM_SETTINGS, "cache": str(cache)}
    return {f"npm_config_{name}": value for name, value in settings.items()}


def npm_manifest(work: Work) -> str:
    """A `package.json` that depends on the packages."""
    if work.tree.is_tiny:
        return _manifest({"tiny": f"file:{_tiny_npm_package(work.room / 'tiny.tgz')}"})
    return _manifest(NPM_PACKAGES)


def npm_cache(work: Work) -> Path:
    """A directory from which npm installs them without a network."""
    if work.tree.is_tiny:
        return work.room / "npm"
    cache = cache_directory() / "npm"
    marker, manifest = cache / "package.json", _manifest(NPM_PACKAGES)
    if not marker.exists() or marker.read_text() != manifest:
        place = work.room / "npm-fetched"
        place.mkdir()
        (place / "package.json").write_text(manifest)
        command = ["npm", "install", "--ignore-scripts"]
        environment = {**os.environ, **npm_environment(cache)}
        subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        marker.write_text(manifest)
    return cache


def _manifest(dependencies: dict[str, str]) -> str:
    return json.dumps({"name": "bench", "version": "1.0.0", "dependencies": dependencies})


def _tiny_npm_package(archive: Path) -> Path:
    content = json.dumps({"name": "tiny", "version": "1.0.0"}).encode()
    with tarfile.open(archive, "w:gz") as opened:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(content)
        opened.addfile(member, io.BytesIO(content))
    return archive
