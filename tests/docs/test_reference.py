"""The reference pages name everything there is, and their links lead somewhere."""

import re
import sqlite3
from pathlib import Path
from typing import cast

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from pwfs.model import errors
from pwfs.model.events import EventType
from pwfs.model.exits import ExitCode
from pwfs.model.problems import STATUS
from pwfs.model.queue import EjectReason
from pwfs.model.views import ConflictType
from pwfs.repo.config import Config, settings
from pwfs.store.schema import migrate
from pwfs_cli.main import app
from pwfs_daemon.web.app import create_application
from pwfs_daemon.web.services import Services

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PARAMETER = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    """A page's text."""
    return (DOCS / name).read_text(encoding="utf-8")


def commands(command: object, name: str) -> dict[str, TyperCommand | TyperGroup]:
    """All commands by what one types; a group that does something itself is one too."""
    if isinstance(command, TyperCommand):
        return {name: command}
    assert isinstance(command, TyperGroup)
    found: dict[str, TyperCommand | TyperGroup] = {}
    if command.invoke_without_command:
        found[name] = command
    for part, below in command.commands.items():
        found |= commands(below, f"{name} {part}")
    return found


def test_every_command_and_option_is_in_cli_md() -> None:
    """Each command stands there as it is typed, each option somewhere in the page."""
    text = read("cli.md")
    root = typer.main.get_command(app)
    found = commands(root, "patchwork")
    assert len(found) > 30
    assert [name for name in found if f"`{name}" not in text] == []
    options = {
        option
        for command in found.values()
        for parameter in command.params
        if isinstance(parameter, TyperOption)
        for option in parameter.opts
        if option.startswith("--")
    }
    assert {option for option in options if option not in text} == set()


def test_every_exit_status_is_in_cli_md() -> None:
    """Scripts rely on them."""
    assert [code for code in ExitCode if f"| {code.value} |" not in read("cli.md")] == []


def test_every_endpoint_is_in_http_api_md() -> None:
    """Each method and address stands there, and nothing that does not exist."""
    text = read("http-api.md")
    documented = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /api/[^`]+)`", text))
    braces = r"{\1}"
    # Nothing is asked of the application, so it needs neither a repository nor a mount.
    application = create_application(cast(Services, None))
    served = {
        f"{method} {PARAMETER.sub(braces, rule.rule)}"
        for rule in application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert documented == served


def test_every_event_and_failure_is_in_http_api_md() -> None:
    """Event types, and codes beside their status."""
    text = read("http-api.md")
    assert [kind for kind in EventType if f"| `{kind}` |" not in text] == []
    rows = dict(re.findall(r"^\| (\d{3}) \| (.*) \|$", text, re.MULTILINE))
    failures = [
        found
        for found in vars(errors).values()
        if isinstance(found, type)
        and issubclass(found, errors.PatchworkError)
        and found is not errors.PatchworkError
    ]
    assert len(failures) > 20
    missing = [f.code for f in failures if f"`{f.code}`" not in rows[str(STATUS[f.category])]]
    assert missing == []


def test_every_setting_column_and_kind_is_explained(tmp_path: Path) -> None:
    """Settings and the database's columns, kinds of conflict, reasons to leave the queue."""
    text = read("on-disk-format.md")
    assert [key for key in settings(Config()) if f"| `{key}` |" not in text] == []
    database = sqlite3.connect(tmp_path / "oplog.db")
    migrate(database)
    tables = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'"
    )
    columns = {
        f"{table}.{column}"
        for (table,) in tables.fetchall()
        for _, column, *_ in database.execute(f"PRAGMA table_info({table})")
        if f"`{column}`" not in text or f"`{table}`" not in text
    }
    database.close()
    assert columns == set()
    assert [kind for kind in ConflictType if f"| `{kind}` |" not in read("merging.md")] == []
    assert [reason for reason in EjectReason if f"| `{reason}` |" not in read("queue.md")] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(DOCS)) for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that a link names."""
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (heading and heading not in headings(found)):
            broken.append(target)
    assert broken == []


def headings(page: Path) -> set[str]:
    """The anchors of a page, as code hosts make them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_names_of_tests_and_files_in_the_pages_exist() -> None:
    """What the pages call a test is one; what they call a file of the project is there."""
    tests = "\n".join(f.read_text(encoding="utf-8") for f in (ROOT / "tests").rglob("*.py"))
    # Columns and the like may begin as tests do.
    product = {
        name
        for file in (ROOT / "pwfs").rglob("*.py")
        for name in re.findall(r"\btest_\w+", file.read_text(encoding="utf-8"))
    }
    missing = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"`(test_\w+)`", text)
        missing += [
            (page.name, name)
            for name in named
            if f"def {name}(" not in tests and name not in product
        ]
        files = re.findall(r"`((?:pwfs|daemon|cli|tests)/[\w/]+\.py)`", text)
        missing += [(page.name, name) for name in files if not (ROOT / name).is_file()]
    assert missing == []
