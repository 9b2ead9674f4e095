"""Runs the generic group of xfstests on two workspaces, as root.

``python -m tests.conformance.xfstests CHECKOUT DIRECTORY [ARGUMENT...]``; the checkout is built, the
users fsgqa, fsgqa2 and 123456-fsgqa are there, and the arguments are those of its ``check`` (by
default ``-g generic/quick``). DIRECTORY is made and keeps the results.

xfstests knows its two filesystems by the device that they were mounted from. Workspaces are one
mount of one device, shown at two places, so programs that stand before ``mount``, ``umount``,
``findmnt`` and ``df`` translate: to mount is to show the workspace, to unmount to take it away.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conformance.place import finish, place_in, run, say

TIMEOUT_S = 6 * 3600.0
DEVICES = ("patchwork-test", "patchwork-scratch")
_KNOWN = (
    "rw ro atime noatime diratime nodiratime relatime norelatime strictatime suid nosuid dev nodev "
    "exec noexec defaults allow_other default_permissions remount"
)
"""The options of mount that a mount of its own can have."""

PLACES = """\
directory_of() {{
    case $1 in
        {test}) echo {test_directory} ;;
        {scratch}) echo {scratch_directory} ;;
    esac
}}
"""
MOUNT = """\
case " $* " in *' -t fuse.patchwork '*) ;; *) exec {mount} "$@" ;; esac
options=
while [ $# -gt 2 ]; do
    case $1 in
        -t) shift ;;
        -o) options=$options,$2; shift ;;
        -o*) options=$options,${{1#-o}} ;;
    esac
    shift
done
kept=remount,bind
case ",$options," in *,remount,*) shown=yes ;; *) shown= ;; esac
for option in $(echo "$options" | tr , ' '); do
    case " {known} " in
        *" ${{option%%=*}} "*) ;;
        *) echo "mount: $2: a workspace knows no option $option" >&2; exit 32 ;;
    esac
    case $option in allow_other|default_permissions|defaults|remount) ;; *) kept=$kept,$option ;; esac
done
[ -n "$shown" ] || {mount} --bind "{workspaces}/$1" "$2" || exit 32
[ "$kept" = remount,bind ] || {mount} -o "$kept" "$2"
"""
UMOUNT = """\
for last in "$@"; do :; done
found=$(directory_of "$last")
[ -n "$found" ] || exec {umount} "$@"
exec {umount} "$found"
"""
FINDMNT = """\
device= columns= type=
case " $* " in
    *' -S '*)
        while [ $# -gt 0 ]; do
            case $1 in
                -S) device=$2; shift ;;
                -o) columns=$2; shift ;;
            esac
            shift
        done
        directory=$(directory_of "$device")
        [ -n "$directory" ] || exit 1
        options=$({findmnt} -rncv -M "$directory" -o OPTIONS) || exit 1
        case $columns in
            TARGET) echo "$directory" ;;
            OPTIONS) echo "$options" ;;
            *) echo "$device $directory" ;;
        esac
        ;;
    *)
        echo "$*" | grep -q -- '-t fuse ' || exec {findmnt} "$@"
        # shellcheck disable=SC2046
        exec {findmnt} $(echo "$*" | sed 's/-t fuse /-t fuse.patchwork /')
        ;;
esac
"""
DF = """\
translated() {{
    sed -E -e 's#^patchwork +fuse\\.patchwork (.* {test_directory})$#{test} fuse \\1#' \\
        -e 's#^patchwork +fuse\\.patchwork (.* {scratch_directory})$#{scratch} fuse \\1#' \\
        -e 's#^patchwork +([0-9].* {test_directory})$#{test} \\1#' \\
        -e 's#^patchwork +([0-9].* {scratch_directory})$#{scratch} \\1#'
}}
for last in "$@"; do :; done
case $last in
    -* | '')
        {df} "$@" | grep -v '^patchwork '
        for directory in {test_directory} {scratch_directory}; do
            {findmnt} -M $directory >/dev/null && {df} "$@" $directory | sed 1d | translated
        done
        ;;
    *) {df} "$@" | translated ;;
esac
"""


def main() -> int:
    """Runs the tests; the exit status says whether none failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a built checkout of xfstests")
    parser.add_argument("directory", type=Path, help="a new directory to work in")
    parser.add_argument("--exclude", type=Path, help="a file of tests that check is not to run")
    parser.add_argument("check", nargs="*", help="arguments for check, after --")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("xfstests must be run as root: it mounts and changes users")
    directory = arguments.directory.resolve()
    shown = {device: directory / device for device in DEVICES}
    with place_in(directory / "repository", is_empty=True) as place:
        for device, where in shown.items():
            place.workspace(device)
            where.mkdir()
        programs = _programs(directory / "bin", place.project.mount / "ws", shown)
        config = directory / "local.config"
        test, scratch = DEVICES
        config.write_text(
            f"export FSTYP=fuse\nexport FUSE_SUBTYP=.patchwork\n"
            f"export TEST_DEV={test}\nexport TEST_DIR={shown[test]}\n"
            f"export SCRATCH_DEV={scratch}\nexport SCRATCH_MNT={shown[scratch]}\n"
            f"export RESULT_BASE={directory}/results\n"
        )
        command: list[str | Path] = ["./check", "-fuse"]
        if arguments.exclude:
            command += ["-E", arguments.exclude.resolve()]
        command += arguments.check or ["-g", "generic/quick"]
        log = directory / "check.log"
        try:
            status = run(
                command,
                arguments.checkout.resolve(),
                log,
                timeout_s=TIMEOUT_S,
                HOST_OPTIONS=str(config),
                PATH=f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
            )
        finally:
            for where in shown.values():
                subprocess.run(["umount", "-l", where], check=False, capture_output=True)
        text = log.read_text(errors="replace")
        for told in re.findall(r"^(?:Ran|Not run|Failures|Failed|Passed).*$", text, re.MULTILINE):
            say(told)
        failures = [f"check ended with {status}; see {log}"] if status else []
        return finish(place, failures)


def _programs(directory: Path, workspaces: Path, shown: dict[str, Path]) -> Path:
    """Writes the programs that translate; returns the directory they are in."""
    directory.mkdir()
    test, scratch = DEVICES
    for device in DEVICES:
        (directory / device).symlink_to(workspaces / f"ws-{device}")
    words = {name: shutil.which(name) for name in ("mount", "umount", "findmnt", "df")}
    for name, body in (("mount", MOUNT), ("umount", UMOUNT), ("findmnt", FINDMNT), ("df", DF)):
        program = directory / name
        text = "#!/bin/sh\n" + (PLACES + body).format(
            **words,
            test=test,
            scratch=scratch,
            test_directory=shown[test],
            scratch_directory=shown[scratch],
            workspaces=directory,
            known=_KNOWN,
        )
        program.write_text(text)
        program.chmod(0o755)
    return directory


if __name__ == "__main__":
    sys.exit(main())
