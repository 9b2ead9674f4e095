"""The ten steps of the documentation, typed as they stand there."""

import re
import threading

import pytest

from tests.support.project import Project

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

SCAN = "patchwork workspace scan ws-add-user-authentication\n"

STEPS_2_TO_5 = """set -e
patchwork change create "Add user authentication" --author agent-1 --target main
patchwork workspace create add-user-authentication ./ws-auth --agent agent-1
echo 'package auth' > ./ws-auth/pkg/auth/auth.go
echo 'package auth' > ./ws-auth/pkg/auth/middleware.go
"""

STEPS_6_TO_8 = """set -e
patchwork version create add-user-authentication "Initial auth implementation"
patchwork change ready add-user-authentication
patchwork submit add-user-authentication
while patchwork queue | grep -q pending; do :; done
patchwork queue
"""

SHOWN_2_TO_4 = """\
Created change: add-user-authentication
Title: Add user authentication
Author: agent-1
Target: main
Status: draft
Created workspace: ws-add-user-authentication
Change: add-user-authentication
Directory: {directory}/ws-auth
Agent: agent-1
"""

SHOWN_5 = """\
Captured 2 operations:
#{first} create pkg/auth/auth.go
#{second} create pkg/auth/middleware.go
"""

SHOWN_6_AND_7 = """\
Created version 1 of add-user-authentication: Initial auth implementation
Change add-user-authentication marked as ready.
Submitted change add-user-authentication (version 1) to the queue.
Position: 0
Status: pending
POS CHANGE VER STATUS ENTERED
"""


@pytest.mark.parametrize("scan", [True, False], ids=["with step 5", "without step 5"])
def test_the_ten_steps_print_what_the_documentation_shows(
    bare_project: Project, scan: bool
) -> None:
    """Every line of output is the documented one; leaving out the scan loses nothing."""
    project = bare_project
    directory = project.directory
    (directory / "pkg" / "auth").mkdir(parents=True)
    (directory / "pkg" / "auth" / "doc.go").write_text("package auth\n")

    init = project.patchwork("init")
    assert init.stdout == f"Initialized patchwork repository in {directory}/.patchwork\n"
    head = project.json("status")["head_seq"]
    # The test waits for its signal, so that the queue can be seen at work.
    gate = project.directory / "gate"
    project.patchwork("config", "set", "test-cmd", f"while [ ! -e {gate} ]; do sleep 0.05; done")

    first = project.shell(STEPS_2_TO_5 + (SCAN if scan else ""))
    expected = SHOWN_2_TO_4 + (SHOWN_5 if scan else "")
    assert first.stdout == expected.format(directory=directory, first=head + 1, second=head + 2), (
        first.stderr
    )
    assert first.status == 0

    second = project.shell(STEPS_6_TO_8)
    assert second.status == 0, second.stderr
    assert second.stdout.startswith(SHOWN_6_AND_7)
    row = second.stdout.removeprefix(SHOWN_6_AND_7)
    assert re.fullmatch(rf"0 add-user-authentication v1 running {MOMENT}\n", row)

    with project.background("watch") as watch:
        assert watch.stdout is not None
        seen: list[str] = []
        # The stream says nothing until something happens, so what happens is repeated.
        stop = threading.Event()
        opened = threading.Thread(target=_open_gate_when_watched, args=(project, stop))
        opened.start()
        for line in watch.stdout:
            if "config_changed" in line:
                stop.set()
                gate.touch()
                continue
            seen.append(line)
            if "change_landed" in line:
                break
        stop.set()
        opened.join()
    assert re.fullmatch(
        rf'\[{MOMENT}\] test_result: {{"change_id":"add-user-authentication","status":"passed"}}\n'
        rf'\[{MOMENT}\] change_landed: {{"change_id":"add-user-authentication","version":1}}\n',
        "".join(seen),
    )

    destroyed = project.patchwork("workspace", "destroy", "ws-add-user-authentication")
    assert destroyed.stdout == "Workspace ws-add-user-authentication destroyed.\n"
    assert not (directory / "ws-auth" / "pkg").exists()
    landed = project.patchwork("cat", "main", "pkg/auth/middleware.go")
    assert landed.stdout == "package auth\n"


def _open_gate_when_watched(project: Project, stop: threading.Event) -> None:
    while not stop.is_set():
        project.patchwork("config", "set", "retries", "0")
