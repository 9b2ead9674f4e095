"""`patchwork fsck`, `verify` and `doctor`: is the repository whole, and can it work here?"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pwfs.model.errors import NotARepository, PatchworkError
from pwfs.model.exits import ExitCode
from pwfs_cli.api import client
from pwfs_cli.failures import ApiProblem
from pwfs_cli.locate import STATE_NAME, find_root
from pwfs_cli.output import describe_trouble, show
from pwfs_cli.session import Json, session

ROOM_BYTES_MIN = 200 * 1024 * 1024
PYTHON_MIN = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``advice`` is empty when it is well.

    A warning is advice about something that Patchwork works without.
    """

    name: str
    found: str
    advice: str = ""
    is_warning: bool = False

    @property
    def verdict(self) -> str:
        """In a word, how it is."""
        return ("warning" if self.is_warning else "problem") if self.advice else "ok"


def check_repository(json: Json = False) -> None:
    """Recompute what is derived from the log, and compare; check every content's hash."""
    report = client().post("fsck")
    problems = report["problems"]
    lost = [f"lost in a power failure, and made good: {text}" for text in report["lost"]]
    show(report, [*(str(problem) for problem in problems), *lost, _summary(report)])
    if problems:
        raise typer.Exit(ExitCode.CORRUPT)


def verify_landings(
    landing: Annotated[
        int | None,
        typer.Argument(metavar="[SEQ]", help="Show this landing's certificate instead."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare every landing with the certificate of what was tested."""
    if landing is not None:
        found = client().get(f"landings/{landing}/certificate")
        proof = found.get("independence") or {}
        lines = [f"{name}: {_shown(found[name])}" for name in found if name != "independence"]
        lines += [f"independence {name}: {_shown(value)}" for name, value in proof.items()]
        show(found, lines)
        return
    report = client().post("verify")
    problems = report["problems"]
    show(report, [*(str(problem) for problem in problems), _summary(report)])
    if problems:
        raise typer.Exit(ExitCode.CORRUPT)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['kind']} {value['text']}"
    if isinstance(value, list) and any("targets" in each for each in value):
        told = (f"{each['change_id']}: {' '.join(each['targets'])}" for each in value)
        return "; ".join(told)
    if isinstance(value, list):
        return " ".join(f"{member['change_id']}@{member['version']}" for member in value)
    return "-" if value is None or value == "" else str(value)


def examine(json: Json = False) -> None:
    """Check that Patchwork can work here, and say what to do where it cannot."""
    findings = list(_examine())
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict} {finding.name}: {finding.found}")
        if finding.advice:
            lines.append(f"  -> {finding.advice}")
    answer = [{"name": f.name, "found": f.found, "advice": f.advice} for f in findings]
    show({"findings": answer}, lines)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _summary(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{v} {k}" for k, v in report.items() if isinstance(v, int))
    verdict = f"{len(report['problems'])} problems found" if report["problems"] else "No problems"
    return f"{verdict} ({counts})." if counts else f"{verdict}."


def _examine() -> Iterator[Finding]:
    version = sys.version.split()[0]
    too_old = sys.version_info[:2] < PYTHON_MIN
    yield Finding("python", version, "Install Python 3.11 or newer." if too_old else "")
    yield _fusermount()
    yield _device()
    try:
        root = find_root(session().directory)
    except NotARepository as error:
        yield Finding("repository", error.message, error.hint)
        return
    yield Finding("repository", str(root))
    yield _permission(root)
    yield _room(root)
    yield from _daemon()


def _fusermount() -> Finding:
    found = shutil.which("fusermount3")
    if found:
        return Finding("fuse3", found)
    return Finding("fuse3", "fusermount3 is missing", "Install the package fuse3.")


def _device() -> Finding:
    name = "/dev/fuse"
    try:
        os.close(os.open(name, os.O_RDWR))
    except FileNotFoundError:
        advice = "Try 'modprobe fuse'; in a container: --device /dev/fuse --cap-add SYS_ADMIN."
        return Finding(name, "missing", advice)
    except OSError as error:
        return Finding(name, error.strerror or "not usable", "Have it opened for this user (0666).")
    return Finding(name, "usable")


def _permission(root: Path) -> Finding:
    state = root / STATE_NAME
    if os.access(state, os.R_OK | os.W_OK | os.X_OK):
        return Finding("permission", f"{state} is writable")
    advice = f"Work as its owner (uid {state.stat().st_uid})."
    return Finding("permission", f"{state} is not writable", advice)


def _room(root: Path) -> Finding:
    free = shutil.disk_usage(root).free
    found = f"{free // (1024 * 1024)} MiB free"
    return Finding("disk", found, "Free some room." if free < ROOM_BYTES_MIN else "")


def _daemon() -> Iterator[Finding]:
    """Starts it if it does not run: that shows the schema, the mount and the address at once."""
    try:
        status = client().get("status")
    except ApiProblem as problem:
        document = problem.document
        yield Finding("daemon", str(document["detail"]), str(document.get("hint") or "See above."))
        return
    except PatchworkError as error:
        yield Finding("daemon", error.message, error.hint)
        return
    yield Finding("daemon", f"answers (pid {status['daemon']['pid']})")
    yield _native(bool(status["daemon"]["native"]))
    for trouble in status["daemon"]["troubles"]:
        advice = "It is tried again and again; daemon.log has more."
        yield Finding(trouble["task"], describe_trouble(trouble), advice)


def _native(is_native: bool) -> Finding:
    if is_native:
        return Finding("native library", "in use")
    return Finding(
        "native library",
        "not in use: no fallocate, holes read as data, copies go through the program",
        "Install gcc, pkg-config and libfuse3-dev, then Patchwork again; restart the daemon.",
        is_warning=True,
    )
