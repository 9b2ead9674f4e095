"""The rule of independence by itself: patterns, what a command prints, and paths that are shared."""

import pytest

from pwfs.model.ids import ChangeId
from pwfs.model.paths import RepoPath
from pwfs.model.targets import (
    PRINTED_MAX_BYTES,
    TARGETS_MAX,
    PathTargets,
    Rule,
    RuleKind,
    TargetsUnknown,
    read_printed,
)
from pwfs.submit.independence import Independence, with_shared_paths

RULE = """
# What belongs together.
docs/: docs
*.proto: wire core
/core/**/*.c: core
odd: name: //core:lib
"""


def targets(*paths: str) -> frozenset[str]:
    """What the rule says of a change."""
    return PathTargets.parse(RULE).targets(map(RepoPath, paths))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("docs/a.md",), {"docs"}),
        (("lib/docs/deep/a",), {"docs"}),
        (("docs/a.proto",), {"docs", "wire", "core"}),
        (("core/x/y.c", "docs/a"), {"core", "docs"}),
        (("odd: name",), {"//core:lib"}),
    ],
)
def test_patterns_are_those_of_ignore_files(paths: tuple[str, ...], expected: set[str]) -> None:
    """A path has the targets of each that matches, a change those of each path."""
    assert targets(*paths) == expected


@pytest.mark.parametrize("paths", [("core/a.h",), ("docs/a", "other"), ("lib/core/a.c",), ()])
def test_a_path_that_no_pattern_matches(paths: tuple[str, ...]) -> None:
    """Of the whole change nothing is known then."""
    with pytest.raises(TargetsUnknown):
        targets(*paths)


def test_what_a_command_prints() -> None:
    """A target a line, whatever is around it; rubbish is told from it, and so is too much."""
    assert read_printed(b"//a:b\r\n\n  c d \n//a:b") == {"//a:b", "c d"}
    most = "".join(f"{number}\n" for number in range(TARGETS_MAX)).encode()
    assert len(read_printed(most)) == TARGETS_MAX
    for output in (b"", b"\n \n", b"\xff", b"a\x00b", b"\x1b[1ma", b"a" * 201, most + b"more"):
        with pytest.raises(TargetsUnknown):
            read_printed(output)
    with pytest.raises(TargetsUnknown, match="more than"):
        read_printed(b"a\n" * PRINTED_MAX_BYTES)


def test_rules_are_named_by_what_they_say() -> None:
    """Another kind or text is another rule."""
    rules = [Rule(kind, text) for kind in RuleKind for text in ("", "a: b", "a: b\n")]
    assert len({rule.digest for rule in rules}) == len(rules)
    assert Rule(RuleKind.PATHS, "a: b").digest == Rule(RuleKind.PATHS, "a: b").digest


A, B, C = (ChangeId(name) for name in "abc")


@pytest.mark.parametrize(
    ("own", "others", "are_free"),
    [
        ("x/y", "x/z", True),
        ("x/y", "x/y", False),
        ("x", "x/y", False),
        ("x/y/z", "x", False),
        ("x", "xy/z", True),
    ],
)
def test_who_touches_the_same_is_not_independent(own: str, others: str, are_free: bool) -> None:
    """Whatever the rule says: the same file, or one where the other has a directory."""
    paths = {A: frozenset({RepoPath(own)}), B: frozenset({RepoPath(others)})}
    found = with_shared_paths({A: frozenset({"1"}), B: frozenset({"2"})}, paths)
    assert found[A].isdisjoint(found[B]) == are_free
    assert ("1" in found[A], "2" in found[B]) == (True, True)


def test_nothing_is_said_of_who_has_no_targets() -> None:
    """Neither by a shared path: it waits for all as it is."""
    path = frozenset({RepoPath("x")})
    found = with_shared_paths({A: frozenset({"1"})}, {A: path, C: path})
    assert found == {A: {"1"}}
    assert Independence({}, {}).is_declared() is False
