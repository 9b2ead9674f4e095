"""`./dev demo [REPOSITORY] [--keep]`: the whole of Patchwork on real files, explained as it goes."""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from demo.stage import Stage, StageError, last_event, mounts

LINES_MIN = 12
SIZE_BYTES_MAX = 200_000
EDITOR = r"""
import pathlib, sys
path = pathlib.Path(sys.argv[1])
number = int(sys.argv[2])
lines = path.read_text().splitlines(keepends=True)
lines[number] = "agent-2, in Python, wants this line to say something else\n"
path.write_text("".join(lines))
print("saved", path, flush=True)
sys.stdin.readline()
text = path.read_text()
assert "\n<<<<<<< " in text, "the view shows both edits between markers"
begin, end = text.index("\n<<<<<<< ") + 1, text.index("\n>>>>>>> ") + 1
print(text[begin : text.index("\n", end)], flush=True)
lines[number] = "agent-1 and agent-2 agree on this line\n"
path.write_text("".join(lines))
print("resolved", path, flush=True)
"""


@dataclass
class Files:
    """The files that the agents edit: one that two of them share, and another."""

    shared: str
    line: int
    other: str


def choose_files(project: Path) -> Files:
    """Picks two tracked text files that are long enough to be edited in several places."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=project, capture_output=True, text=True, check=True
    )
    found: list[tuple[int, str]] = []
    for name in filter(None, listed.stdout.split("\0")):
        file = project / name
        if file.is_symlink() or not file.is_file() or file.stat().st_size > SIZE_BYTES_MAX:
            continue
        content = file.read_bytes()
        if b"\0" in content or b"\n<<<<<<<" in content or not content.endswith(b"\n"):
            continue
        try:
            content.decode()
        except UnicodeDecodeError:
            continue
        if content.count(b"\n") >= LINES_MIN and b"\r" not in content and " " not in name:
            rank = 0 if name.lower().startswith("readme") else 2 if name.startswith(".") else 1
            found.append((rank, name))
    if len(found) < 2:
        raise StageError(f"the demo needs two text files of {LINES_MIN} lines in the repository")
    (_, shared), (_, other), *_ = sorted(found)
    lines = (project / shared).read_text().splitlines()
    line = next((n for n, text in enumerate(lines) if n > 3 and text.strip()), 5)
    return Files(shared=shared, line=line, other=other)


def make_patch(project: Path, files: Files) -> str:
    """A patch as a language model might hand it over: a changed file and a new one."""
    lines = (project / files.other).read_text().splitlines()
    context = lines[:3]
    body = "".join(f" {line}\n" for line in context)
    return (
        f"--- a/{files.other}\n+++ b/{files.other}\n@@ -1,3 +1,4 @@\n+patched by agent-3\n{body}"
        "--- /dev/null\n+++ b/NOTES-agent-3.md\n@@ -0,0 +1,2 @@\n+# Notes\n+Written by git apply.\n"
    )


class Tour:
    """The acts, in order."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.files = choose_files(stage.project)
        self.changes = ["reword-the-start", "reword-it-differently", "apply-a-patch"]
        self.places: list[Path] = []
        self.mount = Path()
        self.conflicts = 0
        self.first_seq = 0
        self.landed: list[dict[str, object]] = []

    def begin(self) -> None:
        stage = self.stage
        stage.tell(
            "A code base becomes a Patchwork repository",
            """`init` takes over the tracked files of a git checkout. From here on main is an
            append-only log of file operations; git stays as it is.""",
        )
        stage.patchwork("init")
        self.first_seq = stage.data("status")["main_seq"]
        stage.tell(
            "Three changes, three workspaces",
            """A change groups operations, like a pull request. A workspace is a mounted
            directory: main with the change on top, readable at once whatever its size.""",
        )
        titles = ["Reword the start", "Reword it differently", "Apply a patch"]
        for number, (title, change) in enumerate(zip(titles, self.changes, strict=True), 1):
            place = stage.directory / f"agent-{number}"
            stage.patchwork("change", "create", title, "--author", f"agent-{number}", quiet=True)
            stage.patchwork("workspace", "create", change, str(place), "--agent", f"agent-{number}")
            self.places.append(place)
        self.mount = Path(str(stage.data("status")["daemon"]["mount"]))

    def edit(self) -> None:
        stage, files = self.stage, self.files
        number = files.line
        stage.tell(
            "Three programs edit at once",
            f"""sed, a Python script and `git apply` each work in their own directory. The first
            two change the same line of {files.shared}. Nothing scans: a save is an operation in
            the log when close() returns.""",
        )
        watch = stage.watch("conflict_detected")
        patch = stage.directory / "agent-3.patch"
        patch.write_text(make_patch(stage.project, files))
        sed = f"sed -i '{number + 1}s/.*/agent-1, with sed, rewrote this line/' {files.shared}"
        first = stage.start(["sh", "-c", f"{sed} && echo saved && read _"], self.places[0])
        editor = [sys.executable, "-c", EDITOR, files.shared, str(number)]
        second = stage.start(editor, self.places[1])
        third = stage.start(["git", "apply", "--verbose", str(patch)], self.places[2])
        try:
            print("  agent-3:", (third.communicate()[0] or "").strip().replace("\n", "; "))
            event = last_event(watch)
            self.conflicts += 1
            still = [p.poll() is None for p in (first, second)]
            payload = event["payload"]
            stage.tell("A conflict, found while both are still editing")
            print(f"  event {event['id']}: {event['type']} in {payload['path']}")
            print(
                f"  {payload['your_change']} and {payload['their_change']}; still editing: {still}"
            )
            stage.patchwork("conflicts", self.changes[1])
            self._resolve(first, second)
        finally:
            for process in (first, second, third, watch):
                process.kill()
                process.communicate()

    def _resolve(self, first: subprocess.Popen[str], second: subprocess.Popen[str]) -> None:
        stage = self.stage
        stage.tell(
            "Resolved by writing the file",
            """agent-2 puts its change on top of agent-1's. Its directory follows by itself: the
            file now shows both edits between markers. The script, still running, writes what it
            should say. That is all.""",
        )
        stage.patchwork("change", "depend", self.changes[1], "--on", self.changes[0])
        output, _ = second.communicate("go on\n")
        stage.show("(agent-2's script)", output)
        first.communicate("done\n")
        if second.returncode:
            raise StageError("agent-2's script did not find the conflict in its file")
        stage.patchwork("conflicts", self.changes[1])

    def land(self, test: str | None) -> None:
        stage, files = self.stage, self.files
        test = test or f"test -s {files.shared} && ! grep -n '^<<<<<<<' {files.shared}"
        stage.tell(
            "Versions, and the queue",
            """A version freezes a change. The queue tests each change on main with all changes
            before it, in a mounted view of exactly the tree that lands if the test passes.""",
        )
        for change in self.changes:
            stage.patchwork("version", "create", change, "First version", quiet=True)
            stage.patchwork("change", "ready", change)
        stage.patchwork("config", "set", "test-cmd", test)
        stage.patchwork("config", "set", "max-speculative", "3", quiet=True)
        watch = stage.watch("test_result", "change_landed", "item_ejected")
        try:
            stage.patchwork("queue", "pause", quiet=True)
            for change in self.changes:
                stage.patchwork("submit", change)
            stage.patchwork("queue")
            stage.patchwork("queue", "resume")
            while len(self.landed) < len(self.changes):
                event = last_event(watch)
                payload = event["payload"]
                if payload.get("change_id") == "initial-import":
                    continue
                if event["type"] == "change_landed":
                    self.landed.append(payload)
                    print(f"  landed {payload['change_id']} as {payload['seq']}")
                elif event["type"] == "test_result":
                    print(f"  tested {payload['change_id']}: {payload['status']}")
                else:
                    raise StageError(f"ejected: {payload}")
        finally:
            watch.kill()
            watch.communicate()

    def look_back(self) -> None:
        stage, files = self.stage, self.files
        stage.tell(
            "Reading along: main, and every moment of it",
            """Whoever has main/ open sees what landed at the next read. at/SEQ is main as it
            was at any number of the log, as a directory.""",
        )
        show = f"{files.line + 1}p"
        moments = [self.first_seq, *(landing["seq"] for landing in self.landed)]
        for place in [*(f"at/{seq}" for seq in moments), "main"]:
            path = self.mount / place / files.shared
            done = subprocess.run(
                ["sed", "-n", show, str(path)], capture_output=True, text=True, check=True
            )
            stage.show(f"sed -n {show} {place}/{files.shared}", done.stdout)
        stage.patchwork("log", "--limit", "8")
        stage.patchwork("fsck")

    def sum_up(self, started: float) -> None:
        status = self.stage.data("status")
        changes = self.stage.data("log", "--limit", "100")["ops"]
        saves = sum(op["change_id"] in self.changes for op in changes)
        self.stage.tell("Summary")
        print(
            f"  {len(self.landed)} changes landed, each as the exact tree that was tested;\n"
            f"  {self.conflicts} conflict found while it arose, and resolved by writing the file;\n"
            f"  {saves} operations of agents; the log stands at {status['head_seq']}, main at "
            f"{status['main_seq']};\n"
            f"  {time.monotonic() - started:.1f} seconds."
        )

    def leave(self) -> None:
        for change in self.changes:
            self.stage.patchwork("workspace", "destroy", f"ws-{change}", quiet=True)


def main() -> int:
    """Plays the tour; exits 1 if something did not go as told."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    default = Path(__file__).resolve().parent.parent
    parser.add_argument("repository", nargs="?", type=Path, default=default)
    parser.add_argument("--keep", action="store_true", help="leave everything for a look")
    parser.add_argument("--test-cmd", help="what the queue runs (default: a check of the edits)")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        stage = Stage(arguments.repository.resolve())
    except StageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    kept = False
    try:
        tour = Tour(stage)
        tour.begin()
        tour.edit()
        tour.land(arguments.test_cmd)
        tour.look_back()
        tour.sum_up(started)
        kept = arguments.keep
        if not kept:
            tour.leave()
    except StageError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        left = [] if kept else stage.sweep()
    if kept:
        print(f"\nKept: {stage.project}, mounted at {tour.mount}; the workspaces:")
        print("\n".join(f"  {place}" for place in tour.places))
        print(
            f"To end it: {stage.command} -C {stage.project} serve --stop; rm -r {stage.directory}"
        )
        return 0
    left += [mount for mount in mounts() if mount == str(tour.mount)]
    if left:
        print(f"demo: left behind: {', '.join(left)}", file=sys.stderr)
        return 1
    print("  Nothing is left behind: no mount, no process, no file.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
