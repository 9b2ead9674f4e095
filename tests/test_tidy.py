"""The style rules that a program can check, over every Python file of the project."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("pwfs", "daemon", "cli", "demo", "bench")

LINES_MAX = 500
LONG_FILES: dict[str, str] = {}
"""The path of each file that may be longer, and why splitting it would make it worse."""

NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
IGNORED_TYPE = re.compile(r"#\s*(type:\s*ignore|mypy:)")


@cache
def sources(*tops: str) -> tuple[Path, ...]:
    """The Python files below the given directories, in order."""
    return tuple(sorted(file for top in tops for file in (ROOT / top).rglob("*.py")))


def named(file: Path) -> str:
    """The path as a reader would type it."""
    return file.relative_to(ROOT).as_posix()


@cache
def parsed(file: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def comments(file: Path) -> Iterator[tuple[str, str]]:
    """Each comment, after where it stands. Strings are not looked into."""
    with io.StringIO(file.read_text(encoding="utf-8")) as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type == tokenize.COMMENT:
                yield f"{named(file)}:{token.start[0]}", token.string


def promises_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The test functions, those in classes too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test_"
        ):
            yield node


def test_files_are_one_idea_long() -> None:
    """No file is longer than the limit, but for those argued above."""
    lengths = {
        named(file): len(file.read_text(encoding="utf-8").splitlines())
        for file in sources(*PRODUCT, "tests")
    }
    too_long = {name: lines for name, lines in lengths.items() if lines > LINES_MAX}
    assert set(too_long) == set(LONG_FILES), f"over {LINES_MAX} lines: {too_long}"


def test_types_are_not_silenced() -> None:
    """A type error is answered, not told to be quiet."""
    silenced = [
        where
        for file in sources(*PRODUCT, "tests")
        for where, comment in comments(file)
        if IGNORED_TYPE.search(comment)
    ]
    assert silenced == []


def test_nothing_is_left_for_later() -> None:
    """What is open stands in the tracker, not in a comment."""
    unfinished = [
        f"{where} {comment}"
        for file in sources(*PRODUCT, "tests")
        for where, comment in comments(file)
        if UNFINISHED.search(comment)
    ]
    assert unfinished == []


def test_modules_say_why_they_exist() -> None:
    """Every module of the product begins with a docstring."""
    silent = [named(file) for file in sources(*PRODUCT) if not ast.get_docstring(parsed(file))]
    assert silent == []


def test_packages_are_named_for_what_they_are() -> None:
    """No package or module is a drawer for what has no place."""
    nameless = [
        named(file)
        for file in sources(*PRODUCT, "tests")
        if NAMELESS & set(file.relative_to(ROOT).with_suffix("").parts)
    ]
    assert nameless == []


def test_tests_say_what_they_promise() -> None:
    """Every test function, or the module it is in, has a docstring."""
    silent = [
        f"{named(file)}:{test.lineno} {test.name}"
        for file in sources("tests")
        if not ast.get_docstring(parsed(file))
        for test in promises_of(parsed(file))
        if not ast.get_docstring(test)
    ]
    assert silent == []
