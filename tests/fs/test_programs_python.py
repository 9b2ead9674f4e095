"""Python in a workspace: imports, virtual environments, pip, a public project's tests."""

import shutil
import sys
import textwrap
import xml.etree.ElementTree as ET
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)

BACKEND = """
    import zipfile

    FILES = {
        "hello_workspace.py": "def main():\\n    print('hello from a workspace')\\n",
        "hello_workspace-1.0.dist-info/METADATA":
            "Metadata-Version: 2.1\\nName: hello-workspace\\nVersion: 1.0\\n",
        "hello_workspace-1.0.dist-info/WHEEL":
            "Wheel-Version: 1.0\\nGenerator: here\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "hello_workspace-1.0.dist-info/entry_points.txt":
            "[console_scripts]\\nhello-workspace = hello_workspace:main\\n",
    }

    def build_wheel(directory, config_settings=None, metadata_directory=None):
        name = "hello_workspace-1.0-py3-none-any.whl"
        record = "".join(f"{file},,\\n" for file in FILES)
        with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
            for file, text in FILES.items():
                wheel.writestr(file, text)
            wheel.writestr("hello_workspace-1.0.dist-info/RECORD", record)
        return name
"""
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "hello-workspace"
version = "1.0"
"""


def test_python_imports_and_compiles(mounted: Mounted) -> None:
    """A package in a workspace is imported, with its byte code in ignored directories."""
    ws = mounted.workspace()
    (ws / ".gitignore").write_text("__pycache__/\n")
    (ws / "src/lib/__init__.py").touch()
    say = "import sys; sys.path.insert(0, 'src'); import lib.util; print(lib.util.f())"
    assert run("python3", "-c", say, cwd=ws) == "1\n"
    assert run("python3", "-c", say, cwd=ws) == "1\n"
    assert not any("__pycache__" in name for name in mounted.files())


@pytest.mark.timeout(180)
def test_a_virtual_environment_with_pip(mounted: Mounted) -> None:
    """python -m venv, pip install of a package in the workspace, its command, pip uninstall."""
    ws = mounted.workspace()
    (ws / ".gitignore").write_text(".venv/\nbuild/\n*.egg-info/\n__pycache__/\n")
    (ws / "hello").mkdir()
    (ws / "hello/backend.py").write_text(textwrap.dedent(BACKEND))
    (ws / "hello/pyproject.toml").write_text(PROJECT)
    count = len(mounted.ops())
    run(sys.executable, "-m", "venv", ".venv", cwd=ws)
    pip = (".venv/bin/pip", "--disable-pip-version-check", "--no-cache-dir")
    install = ("install", "-q", "--no-index", "--no-build-isolation", "./hello")
    run(*pip, *install, cwd=ws, PIP_ROOT_USER_ACTION="ignore")
    assert run(".venv/bin/hello-workspace", cwd=ws) == "hello from a workspace\n"
    assert "hello-workspace" in run(*pip, "list", cwd=ws)
    run(*pip, "check", cwd=ws)
    run(*pip, "uninstall", "-q", "-y", "hello-workspace", cwd=ws, PIP_ROOT_USER_ACTION="ignore")
    assert not (ws / ".venv/bin/hello-workspace").exists()
    assert len(mounted.ops()) == count


def outcomes(place: Path) -> dict[str, str]:
    """Runs the tests of a copy of toolz; how each of them ended."""
    report = place.parent / f"{place.name}.xml"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null")
    run(*command, f"--rootdir={place}", f"--junitxml={report}", "toolz/tests", cwd=place)
    found = {}
    for case in ET.parse(report).iter("testcase"):
        result = next((child.tag for child in case), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = result
    report.unlink()
    return found


@pytest.mark.timeout(120)
def test_a_public_projects_tests(mounted: Mounted) -> None:
    """toolz, which ships its tests: test by test the same as on disk."""
    disk = mounted.repository.parent / "toolz"
    for file in files("toolz") or ():
        if file.suffix == ".py":
            place = disk / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), place)
    ws = mounted.workspace()
    (ws / ".gitignore").write_text("__pycache__/\n*.xml\n")
    shutil.copytree(disk, ws / "checkout")
    on_disk = outcomes(disk)
    assert len(on_disk) > 150
    assert outcomes(ws / "checkout") == on_disk
    assert set(on_disk.values()) <= {"passed", "skipped"}
