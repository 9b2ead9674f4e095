"""What users get wrong: the message, the exit status, and that nothing changed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pwfs.model.exits import ExitCode
from tests.support.project import Project, temporary_project


def start(project: Project) -> Project:
    """Adds one draft change that edits one file."""
    project.patchwork("change", "create", "Edit it", "--author", "a")
    project.patchwork("workspace", "create", "edit-it", "ws", "--agent", "a")
    (project.directory / "ws" / "a.txt").write_text("a\n")
    return project


@pytest.fixture
def started(project: Project) -> Project:
    """A repository with one draft change that edits one file."""
    return start(project)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The same, shared by tests that change nothing."""
    with temporary_project(tmp_path_factory.mktemp("shared") / "project") as found:
        found.patchwork("init")
        yield start(found)


def state(project: Project) -> object:
    """All that a refused command must not change."""
    with project.api() as api:
        return [
            api.get(place).json()
            for place in ("head", "changes", "views", "workspaces", "queue", "config", "ops")
        ]


def refused(project: Project, *arguments: str | Path, status: ExitCode, message: str) -> None:
    """Checks a refusal: what is said in both forms, the status, and that nothing changed."""
    before = state(project)
    plain = project.patchwork(*arguments, status=status)
    assert plain.stdout == ""
    assert plain.stderr.startswith("error: ")
    assert message in plain.stderr
    document = project.json(*arguments, status=status)
    assert message in document["detail"] + document["hint"]
    assert state(project) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("change", "show", "none"),
        ("change", "ready", "none"),
        ("change", "abandon", "none"),
        ("change", "depend", "edit-it", "--on", "none"),
        ("change", "create", "New", "--depends-on", "none"),
        ("version", "create", "none", "message"),
        ("version", "list", "none"),
        ("workspace", "create", "none", "new-place"),
        ("workspace", "sync", "none"),
        ("workspace", "scan", "none"),
        ("workspace", "switch", "none", "edit-it"),
        ("workspace", "switch", "ws-edit-it", "none"),
        ("workspace", "destroy", "none"),
        ("log", "--change", "none"),
        ("cat", "none", "a.txt"),
        ("cat", "main", "none"),
        ("diff", "none"),
        ("diff", "edit-it", "--version", "7"),
        ("land", "none"),
        ("rebase", "none"),
        ("conflicts", "none"),
        ("view", "show", "none"),
        ("view", "delete", "none"),
        ("queue", "cancel", "none"),
        ("queue", "output", "edit-it"),
    ],
    ids=" ".join,
)
def test_what_does_not_exist_is_named(unchanged: Project, arguments: tuple[str, ...]) -> None:
    """Every command that takes a name refuses one that is not there, with status 3."""
    refused(unchanged, *arguments, status=ExitCode.NOT_FOUND, message="There is no")
    assert not (unchanged.directory / "new-place").exists()


def test_a_title_needs_something_to_make_an_id_of(unchanged: Project) -> None:
    """Punctuation alone is no name."""
    refused(
        unchanged, "change", "create", "!?", status=ExitCode.INVALID, message="no letter or digit"
    )


def test_a_landed_change_is_not_edited_any_more(started: Project) -> None:
    """Its workspace is read-only, and nothing is frozen, submitted or landed again."""
    started.patchwork("land", "edit-it")
    with pytest.raises(OSError, match="Read-only"):
        (started.directory / "ws" / "b.txt").write_text("b\n")
    for arguments in (
        ("version", "create", "edit-it", "again"),
        ("workspace", "create", "edit-it", "second"),
        ("land", "edit-it"),
        ("rebase", "edit-it"),
        ("change", "abandon", "edit-it"),
        ("change", "ready", "edit-it"),
    ):
        refused(started, *arguments, status=ExitCode.CONFLICT, message="landed")


def test_a_cycle_of_dependencies_is_refused(started: Project) -> None:
    """Changes cannot wait for each other."""
    started.patchwork("change", "create", "Next", "--depends-on", "edit-it")
    refused(
        started,
        *("change", "depend", "edit-it", "--on", "next"),
        status=ExitCode.CONFLICT,
        message="depend on each other",
    )


def test_a_workspace_never_hides_files(unchanged: Project) -> None:
    """A directory that holds something, also another workspace, is left alone."""
    full = unchanged.directory / "full"
    full.mkdir()
    (full / "precious").write_text("mine")
    for place in ("full", "ws"):
        refused(
            unchanged,
            *("workspace", "create", "edit-it", place),
            status=ExitCode.CONFLICT,
            message="is not empty",
        )
    refused(
        unchanged,
        *("workspace", "create", "edit-it", "full/precious"),
        status=ExitCode.INVALID,
        message="not a directory",
    )
    refused(
        unchanged,
        *("workspace", "create", "edit-it", ".patchwork/blobs"),
        status=ExitCode.INVALID,
        message="the repository's own",
    )
    assert (full / "precious").read_text() == "mine"
    assert (unchanged.directory / "ws" / "a.txt").read_text() == "a\n"


def test_a_path_does_not_lead_out(unchanged: Project) -> None:
    """`..` and absolute paths are no paths of the code base."""
    for path in ("../secret", "a/../../b", ".patchwork/token"):
        refused(unchanged, "cat", "main", path, status=ExitCode.INVALID, message="is not valid")
    refused(unchanged, "log", "--path", "../x", status=ExitCode.INVALID, message="is not valid")


def test_without_a_test_command_nothing_is_submitted(unchanged: Project) -> None:
    """The message says how to set one, and the change stays a draft."""
    refused(
        unchanged,
        *("submit", "edit-it"),
        status=ExitCode.CONFLICT,
        message='patchwork config set test-cmd "make test"',
    )


def test_settings_are_checked(unchanged: Project) -> None:
    """An unknown key names those there are; a bad value says what would do."""
    for key, value, message in (
        ("test-command", "x", "test-cmd"),
        ("retries", "many", "whole number"),
        ("max-speculative", "0", "at least 1"),
        ("queue-policy", "quick", "auto, batch, linear, tree, window"),
        ("http-addr", "here", "HOST:PORT"),
        ("test-dir", "../up", "inside the code base"),
    ):
        refused(unchanged, "config", "set", key, value, status=ExitCode.INVALID, message=message)


def test_an_empty_change_has_nothing_to_freeze(started: Project) -> None:
    """A version without an edit would say nothing."""
    started.patchwork("change", "create", "Idle")
    for arguments in (("version", "create", "idle", "m"), ("land", "idle")):
        refused(started, *arguments, status=ExitCode.CONFLICT, message="no edits")


def test_a_dependency_lands_first(started: Project) -> None:
    """Neither the queue nor a direct landing overtakes it."""
    started.patchwork("config", "set", "test-cmd", "true")
    started.patchwork("change", "create", "Later", "--depends-on", "edit-it")
    started.patchwork("workspace", "create", "later", "ws2")
    (started.directory / "ws2" / "b.txt").write_text("b\n")
    for command in ("submit", "land"):
        refused(started, command, "later", status=ExitCode.CONFLICT, message="depends on edit-it")


def test_a_wrong_policy_or_overlay_is_refused(unchanged: Project) -> None:
    """What a view is made of is checked before it is made."""
    refused(
        unchanged,
        *("view", "create", "v", "--policy", "hope"),
        status=ExitCode.INVALID,
        message="hope",
    )
    refused(
        unchanged,
        *("view", "create", "v", "--overlay", "none"),
        status=ExitCode.NOT_FOUND,
        message="There is no",
    )
    unchanged.patchwork("view", "create", "v", "--overlay", "edit-it@x", status=ExitCode.USAGE)


def test_a_repository_is_not_initialized_twice(unchanged: Project) -> None:
    """What is there is named and left alone."""
    refused(unchanged, "init", status=ExitCode.CONFLICT, message="repository already")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("log", "--path", "\udcff"), "it is not UTF-8"),
        (("cat", "main", "\udcff"), "it is not UTF-8"),
        (("change", "show", "\udcff"), "is not UTF-8"),
        (("change", "create", "A \udcff"), "it is not UTF-8"),
        (("cat", "main", ""), "it is empty"),
        (("cat", "main", "/a.txt"), "it is absolute"),
    ],
)
def test_what_cannot_be_a_name_is_refused(
    unchanged: Project, arguments: tuple[str, ...], message: str
) -> None:
    """Bytes that are not UTF-8, nothing, and an absolute path."""
    refused(unchanged, *arguments, status=ExitCode.INVALID, message=message)


def test_init_says_where_it_cannot(unchanged: Project, tmp_path: Path) -> None:
    """In a workspace, where no directory can be made, in a bare repository, and nowhere."""
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "bare")], check=True)
    places = {
        "ws": "Operation not permitted",
        "/proc/none": "No such file or directory",
        str(tmp_path / "bare"): "bare repository",
        "": "it is empty",
    }
    for place, message in places.items():
        refused(unchanged, "init", place, status=ExitCode.INVALID, message=message)
    assert not (tmp_path / "bare/.patchwork").exists()


def test_init_says_what_main_lacks_and_what_is_around(unchanged: Project) -> None:
    """Uncommitted edits are not taken over; a repository in another one is its own."""
    inner = unchanged.directory / "inner"
    inner.mkdir()
    (inner / "a.txt").write_text("committed\n")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "One"],
    ):
        subprocess.run(["git", *command], cwd=inner, check=True)
    (inner / "a.txt").write_text("edited\n")
    told = unchanged.patchwork("init", "inner").stderr
    assert "Uncommitted changes of the checkout are not in main." in told
    assert f"inside the repository {unchanged.directory} " in told


def test_control_characters_do_not_break_a_table(started: Project) -> None:
    """A title with a line break stays on its line."""
    started.patchwork("change", "create", "Two\nlines \x1b[31m")
    assert "Two\\nlines \\x1b[31m" in started.patchwork("change", "list").stdout


def test_a_misspelt_command_or_option_is_usage(unchanged: Project) -> None:
    """Status 2, as with most programs."""
    for arguments in (("stauts",), ("status", "--loud"), ("change",), ("cat", "main")):
        found = unchanged.patchwork(*arguments, status=ExitCode.USAGE)
        assert "Usage: " in found.stderr + found.stdout
