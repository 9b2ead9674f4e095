"""The commands at work: what they print, in both forms, and the statuses they end with."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from pwfs.model.exits import ExitCode
from tests.support.project import Project

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

COMMANDS = """
    init status change_create change_list change_show change_ready change_abandon
    change_depend version_create version_list workspace_create workspace_list
    workspace_status workspace_sync workspace_scan workspace_switch workspace_destroy view_create
    view_list view_show view_delete submit queue queue_show queue_cancel queue_pause
    queue_resume queue_priority queue_output log cat diff land rebase conflicts
    serve watch config_show config_set fsck verify doctor fsmonitor_install fsmonitor_uninstall
"""


@pytest.fixture
def started(project: Project) -> Project:
    """A repository with one draft change that adds one file."""
    project.patchwork("change", "create", "Edit it", "--author", "a")
    project.patchwork("workspace", "create", "edit-it", "ws", "--agent", "a")
    (project.directory / "ws" / "a.txt").write_text("a\n")
    return project


def edit(project: Project, title: str, path: str, content: str) -> str:
    """Makes a change that writes one file, and returns its id."""
    change = str(project.json("change", "create", title)["id"])
    project.patchwork("workspace", "create", change, f"ws-{change}")
    (project.directory / f"ws-{change}" / path).write_text(content)
    return change


def test_help_is_quick() -> None:
    """The command line answers before anybody waits: nothing heavy is imported for it."""
    watched = "import sys; from pwfs_cli.main import app; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", watched], capture_output=True, text=True, check=True, timeout=30
    )
    heavy = {"rich", "httpx", "quart", "trio", "msgspec", "http.client", "pwfs.repo", "sqlite3"}
    assert not heavy & set(done.stdout.split())
    times_s = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "pwfs_cli.main", "--help"],
            check=True,
            capture_output=True,
            timeout=30,
        )
        after = os.times()
        # The processor's time: the clock's depends on who else computes here.
        times_s.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert min(times_s) < 0.3


def test_every_command_of_the_documentation_is_there(project: Project) -> None:
    """Every command explains itself, and each that prints an answer has --json."""
    for command in COMMANDS.split():
        shown = project.patchwork(*command.split("_"), "--help").stdout
        assert "--json" in shown, command
        assert len(shown.split("\n\n")[1].strip()) > 10, command
    assert project.patchwork("--version").stdout.startswith("patchwork ")


def test_a_change_is_shown_with_all_that_belongs_to_it(started: Project) -> None:
    """Versions, dependencies and status, as text and as the API's JSON."""
    started.patchwork("version", "create", "edit-it", "first")
    started.patchwork("change", "create", "Next", "--depends-on", "edit-it")
    shown = started.patchwork("change", "show", "edit-it").stdout
    assert re.search(rf"v1 {MOMENT} \d operations? on #0: first", shown)
    assert started.json("change", "show", "next")["dependencies"] == ["edit-it"]
    rows = started.patchwork("change", "list").lines
    assert rows == [
        "ID STATUS VER AUTHOR TITLE",
        "edit-it draft v1 a Edit it",
        "next draft v0 tester Next",
    ]
    started.patchwork("change", "ready", "edit-it")
    assert len(started.patchwork("change", "list", "--status", "ready").lines) == 2
    dropped = started.patchwork("change", "depend", "next", "--not-on", "edit-it").stdout
    assert dropped == "Change next depends on nothing.\n"
    versions = started.patchwork("version", "list", "edit-it").lines
    assert re.fullmatch(rf"v1 \d #0 - {MOMENT} first", versions[1])


def test_tables_are_in_columns_on_a_terminal(started: Project) -> None:
    """A person sees aligned columns where a program gets single spaces."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            started.command("change", "list"),
            cwd=started.directory,
            env=started.variables(),
            stdout=theirs,
            timeout=30,
            check=True,
        )
        os.close(theirs)
        lines = terminal.read(4096).decode().split("\r\n")
    assert lines[0].index("STATUS") == lines[1].index("draft")
    assert lines[0].startswith("ID       STATUS")


def test_files_and_differences_are_printed_as_they_are(started: Project) -> None:
    """`cat` gives the bytes, `diff` what `git apply` takes, `log` the operations."""
    (started.directory / "ws" / "raw.bin").write_bytes(bytes(range(256)))
    done = subprocess.run(
        started.command("cat", "ws-edit-it", "raw.bin"),
        cwd=started.directory,
        env=started.variables(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == bytes(range(256))
    assert started.json("cat", "ws-edit-it", "a.txt")["content"] == "a\n"
    assert started.json("cat", "ws-edit-it", "raw.bin")["encoding"] == "base64"
    diff = started.patchwork("diff", "edit-it").stdout
    assert "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+a\n" in diff
    subprocess.run(
        ["git", "apply", "--check", "--include=a.txt"],
        input=diff,
        cwd=started.directory.parent,
        text=True,
        check=True,
    )
    log = started.patchwork("log", "--path", "a.txt").lines
    assert re.fullmatch(rf"#\d+ {MOMENT} a edit-it v1 (create|modify) a\.txt", log[1])
    assert len(started.patchwork("log", "--limit", "1").lines) == 2


def test_submit_and_wait_tells_how_it_ended(started: Project) -> None:
    """Status 0 for landed, 10 for ejected, and the reason with it."""
    started.patchwork("config", "set", "test-cmd", "echo seen; test ! -e bad.txt")
    landed = started.patchwork("submit", "edit-it", "--wait")
    assert landed.lines[-1] == "Landed: edit-it"
    assert started.patchwork("cat", "main", "a.txt").stdout == "a\n"
    bad = edit(started, "Bad", "bad.txt", "x")
    ejected = started.patchwork("submit", bad, "--wait", status=ExitCode.EJECTED)
    assert ejected.lines[-1] == "Left the queue without landing: bad (test_failed)"
    assert started.json("change", "show", bad)["status"] == "draft"
    assert started.patchwork("queue", "output", bad).stdout == "seen\n"
    item = started.json("submit", bad, "--wait", status=ExitCode.EJECTED)
    assert (item["state"], item["reason"]) == ("ejected", "test_failed")
    shown = started.patchwork("queue", "show", bad).stdout
    assert "Reason: test_failed" in shown and "Attempt #" in shown
    assert "Cause: own_failure\nRemedy: edit\nMerges with main: yes\n" in shown
    assert item["output_tail"] == "seen\n"
    tested = item["ejection"]["view_id"]
    assert f"Tested tree: at/{tested} in the mount" in shown
    assert (started.mount / "at" / tested / "bad.txt").read_text() == "x"
    assert (started.mount / "at" / tested / "a.txt").read_text() == "a\n"
    assert not (started.mount / "at" / "attempt-99").exists()
    assert started.patchwork("cat", tested, "bad.txt").stdout == "x"


def test_what_timed_out_is_submitted_again(started: Project) -> None:
    """As often as was allowed; who waits, waits for the last."""
    counter = started.directory / "counter"
    started.patchwork("config", "set", "test-timeout-s", "1")
    command = f"echo >> {counter}; test $(wc -l < {counter}) -gt 1 || sleep 30"
    started.patchwork("config", "set", "test-cmd", command)
    landed = started.patchwork("submit", "edit-it", "--resubmit", "2", "--wait")
    assert landed.lines[-1] == "Landed: edit-it"
    shown = started.patchwork("queue", "show", "#1").stdout
    assert "Cause: timeout\nRemedy: resubmit\n" in shown
    assert "Submitted again as: #2" in shown
    started.patchwork("submit", "edit-it", "--resubmit", "-1", status=ExitCode.INVALID)


def test_the_queue_is_steered(started: Project) -> None:
    """Pause, order, cancel and go on."""
    started.patchwork("config", "set", "test-cmd", "true")
    assert started.patchwork("queue").stdout == "The queue is empty.\n"
    started.patchwork("queue", "pause")
    other = edit(started, "Other", "b.txt", "b\n")
    third = edit(started, "Third", "c.txt", "c\n")
    for change in ("edit-it", other, third):
        started.patchwork("submit", change)
    again = started.patchwork("submit", third, status=ExitCode.CONFLICT)
    assert "is in the queue already" in again.stderr
    moved = started.patchwork("queue", "priority", third, "5").stdout
    assert moved == "third has priority 5, position 0.\n"
    assert started.patchwork("queue", "cancel", other).stdout == "Cancelled other.\n"
    table = started.patchwork("queue")
    assert [line.split()[:4] for line in table.lines[1:]] == [
        ["0", "third", "v1", "pending"],
        ["1", "edit-it", "v1", "pending"],
    ]
    assert "paused" in table.stderr
    assert started.json("status")["queue_paused"] is True
    assert started.patchwork("queue", "--plan").lines == [
        "main (linear, 1 at once)",
        "├─ #3 third  lands: 90%",
        "│  └─ wanted on main",
        "└─ #1 edit-it  lands: 87%",
        "   └─ waits",
    ]
    fourth = edit(started, "Fourth", "c.txt", "otherwise\n")
    foreseen = started.patchwork("submit", fourth, "--what-if").lines
    assert foreseen[:2] == ["Position: 2", "Waits for: 2 in the queue"]
    assert "Conflict: c.txt, with third" in foreseen
    assert foreseen[-1] == "Wait: 3.0 tests, one after the other"
    assert started.json("change", "show", fourth)["status"] == "draft"
    started.patchwork("submit", third, "--what-if", status=ExitCode.CONFLICT)
    with started.background("watch", "--types", "change_landed", "--since", "0") as watch:
        started.patchwork("queue", "resume")
        assert watch.stdout is not None
        landed = [json.loads(watch.stdout.readline().split(": ", 1)[1]) for _ in range(2)]
    assert [event["change_id"] for event in landed] == ["third", "edit-it"]
    assert started.json("change", "show", other)["status"] == "draft"


def test_output_is_followed_while_the_test_runs(started: Project) -> None:
    """Lines appear when they are printed, and the last one when the test ends."""
    gate = started.directory / "gate"
    script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo ended"
    started.patchwork("config", "set", "test-cmd", script)
    started.patchwork("submit", "edit-it")
    deadline = time.monotonic() + 20
    while "begun" not in started.patchwork("queue", "output", "edit-it").stdout:
        assert time.monotonic() < deadline
    with started.background("queue", "output", "edit-it", "--follow") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "begun\n"
        gate.touch()
        assert follower.stdout.read() == "ended\n"


def test_conflicts_are_told_and_stop_a_landing(started: Project) -> None:
    """Who conflicts where is told before landing, and rebasing changes nothing."""
    other = edit(started, "Other", "a.txt", "other\n")
    told = started.patchwork("conflicts", other).lines
    assert told == ["Change other has 1 conflict:", "a.txt: add_add with edit-it"]
    started.patchwork("land", "edit-it")
    refused = started.patchwork("rebase", other, status=ExitCode.CONFLICT)
    assert "a.txt" in refused.stderr
    (started.directory / f"ws-{other}" / "a.txt").write_text("both\n")
    rebased = started.patchwork("rebase", other).stdout
    assert re.fullmatch(r"Rebased other onto #\d+ as version 1\.\n", rebased)
    assert re.fullmatch(
        r"Landed other \(version 1\) as #\d+\.\n", started.patchwork("land", other).stdout
    )
    assert started.patchwork("cat", "main", "a.txt").stdout == "both\n"


def test_a_pinned_workspace_is_synced_and_switched(started: Project) -> None:
    """Main stays as it was until sync; a switch shows another change's work."""
    started.patchwork("change", "create", "Later")
    started.patchwork("workspace", "create", "later", "pinned", "--pin")
    started.patchwork("land", "edit-it")
    pinned = started.directory / "pinned"
    assert not (pinned / "a.txt").exists()
    started.patchwork("workspace", "sync", "ws-later")
    assert (pinned / "a.txt").read_text() == "a\n"
    other = edit(started, "Other", "b.txt", "b\n")
    switched = started.patchwork("workspace", "switch", "ws-later", other).stdout
    assert switched == "Workspace ws-later switched to other.\n"
    assert (pinned / "b.txt").read_text() == "b\n"
    listed = started.patchwork("workspace", "list").lines
    assert f"ws-later other tester open {pinned}" in listed
    assert f"ws-edit-it edit-it a read-only {started.directory}/ws" in listed


def test_views_combine_changes(started: Project) -> None:
    """A view shows main with what is laid over it."""
    other = edit(started, "Other", "b.txt", "b\n")
    created = started.patchwork(
        "view", "create", "both", "--overlay", "edit-it", "--overlay", other
    ).lines
    assert created[0] == "Created view: both"
    assert "Overlays: edit-it,other" in created
    assert "Files: 2" in started.patchwork("view", "show", "both").lines
    assert (started.mount / "views" / "both" / "b.txt").read_text() == "b\n"
    assert started.patchwork("view", "delete", "both").stdout == "View both deleted.\n"


def test_damage_is_found(started: Project) -> None:
    """A content that is not what its name says: status 9, and where it is named."""
    started.patchwork("land", "edit-it")
    assert started.patchwork("fsck").stdout.startswith("No problems")
    started.patchwork("serve", "--stop")
    (blob,) = (
        path
        for path in (started.state_dir / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == b"a\n"
    )
    blob.chmod(0o644)
    blob.write_bytes(b"b\n")
    damaged = started.patchwork("fsck", status=ExitCode.CORRUPT)
    assert blob.name in damaged.stdout or "a.txt" in damaged.stdout
    assert started.json("fsck", status=ExitCode.CORRUPT)["problems"]


def test_landings_are_verified_by_their_certificates(started: Project) -> None:
    """Each that the queue tested has one, which can be shown; others are counted apart."""
    started.patchwork("config", "set", "test-cmd", "test -f a.txt")
    started.patchwork("submit", "edit-it", "--wait")
    direct = edit(started, "Direct", "b.txt", "b\n")
    started.patchwork("land", direct)
    assert started.patchwork("verify").lines == [
        "No problems (2 landings, 1 certified, 1 untested, 0 earlier)."
    ]
    first, second = started.json("verify"), started.json("status")["main_seq"]
    assert first == {"landings": 2, "certified": 1, "untested": 1, "earlier": 0, "problems": []}
    shown = started.patchwork("verify", str(second - 2)).lines
    assert "command: test -f a.txt" in shown
    assert "members: edit-it@1" in shown
    started.patchwork("verify", str(second), status=ExitCode.NOT_FOUND)
    started.patchwork("verify", "first", status=ExitCode.USAGE)


def test_init_takes_a_git_checkout_over(bare_project: Project) -> None:
    """Tracked files become main; notes about it do not disturb the output."""
    project = bare_project
    (project.directory / "kept.txt").write_text("kept\n")
    (project.directory / "untracked.txt").write_text("not\n")
    for command in ("init -q", "add kept.txt", "-c user.name=a -c user.email=a@b commit -qm x"):
        subprocess.run(["git", *command.split()], cwd=project.directory, check=True)
    done = project.patchwork("init")
    assert done.lines == [f"Initialized patchwork repository in {project.state_dir}"]
    assert "1 tracked file" in done.stderr
    assert project.patchwork("cat", "main", "kept.txt").stdout == "kept\n"
    project.patchwork("cat", "main", "untracked.txt", status=ExitCode.NOT_FOUND)


def test_init_makes_the_directory_it_is_given(bare_project: Project) -> None:
    """`init DIR` works for one that does not exist yet, also with -C."""
    made = bare_project.json("-C", bare_project.directory, "init", "new/place")
    assert made["directory"] == str(bare_project.directory / "new" / "place")
    assert (bare_project.directory / "new" / "place" / ".patchwork" / "oplog.db").is_file()


def test_doctor_finds_a_healthy_place_healthy(started: Project) -> None:
    """Each thing that was looked at is named."""
    lines = started.patchwork("doctor").lines
    assert all(line.startswith("ok ") for line in lines), lines
    names = {finding["name"] for finding in started.json("doctor")["findings"]}
    assert {"python", "fuse3", "/dev/fuse", "permission", "disk", "daemon"} <= names
