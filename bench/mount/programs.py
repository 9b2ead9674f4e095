"""Whole programs that developers wait for: tests, installers, a build, an archive unpacked."""

import os
import subprocess
import sys

from bench.mount.packages import npm_cache, npm_environment, npm_manifest, wheels
from bench.mount.peers import Peer
from bench.mount.rows import Measured, Row, Scenario, Work, remove, settled, timed
from bench.mount.tree import C_PROJECT, TESTED_PROJECT

TEST_LABELS = ("migrations", "utils_tests", "forms_tests", "file_storage")
"""Django's tests of these pass without a network and as root."""


def project_tests(work: Work, peer: Peer) -> Measured:
    """Django's own tests, when everything that they import was compiled and read before."""
    place = peer.root / TESTED_PROJECT
    # Python imports from wheels as they are.
    path = [str(place), *map(str, sorted(wheels(work).glob("*.whl")))]
    options = ("--settings=test_sqlite", "--parallel=1", "--verbosity=0")
    command = (sys.executable, "tests/runtests.py", *options, *TEST_LABELS)
    variables = {"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": ""}
    timed(command, place, **variables)
    return {"tests": timed(command, place, **variables)}


def pip_install(work: Work, peer: Peer) -> Measured:
    """Wheels are installed into an empty virtual environment, and compiled."""
    place = peer.root / ".venv"
    remove(place)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    directory = wheels(work)
    quiet = ("--disable-pip-version-check", "-qq")
    pip = (sys.executable, "-m", "pip", *quiet, "--python", ".venv/bin/python", "install")
    offline = ("--no-index", "--no-deps", "--find-links", str(directory))
    requirements = ("-r", str(directory / "wheels.txt"))
    seconds = timed((*pip, *offline, *requirements), peer.root)
    remove(place)
    return {"pip": seconds}


def npm_install(work: Work, peer: Peer) -> Measured:
    """Packages are installed from npm's cache into an ignored directory."""
    cache = npm_cache(work)
    place = peer.root / "npm"
    remove(place)
    place.mkdir()
    (place / "package.json").write_text(npm_manifest(work))
    options = ("--offline", "--ignore-scripts", "--no-package-lock")
    seconds = timed(("npm", "install", *options), place, **npm_environment(cache))
    remove(place)
    peer.settle()
    return {"npm": seconds}


def build(work: Work, peer: Peer) -> Measured:
    """Lua is compiled from clean, one file after the other."""
    place = peer.root / C_PROJECT
    timed(("make", "clean"), place)
    return {"make": timed(("make", "generic"), place)}


def unpack(work: Work, peer: Peer) -> Measured:
    """The whole tree comes out of an archive, into a versioned directory."""
    place = peer.root / "unpacked"
    remove(place)
    place.mkdir()
    peer.settle()
    seconds = timed(("tar", "xf", str(work.tree.archive), "-C", str(place)), peer.root)
    rest_s = settled(peer)
    remove(place)
    peer.settle()
    return {"tar": seconds, "tar-captured": seconds + rest_s}


SCENARIOS = (
    Scenario((Row("tests", "a project's test suite, second run", "s"),), project_tests, 3),
    Scenario((Row("pip", "pip install, ignored files", "s"),), pip_install, 3),
    Scenario((Row("npm", "npm install, ignored files", "s"),), npm_install, 3, needs="npm"),
    Scenario((Row("make", "make of a C project, ignored files", "s"),), build, 3, needs="make"),
    Scenario(
        (
            Row("tar", "tar x of the whole tree", "s"),
            Row("tar-captured", "the same, until it is in the log", "s"),
        ),
        unpack,
        rounds_max=3,
    ),
)
