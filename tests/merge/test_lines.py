"""Line diffs: hunks say exactly what changed, and unified diffs are what git's tools take."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwfs.merge import (
    MERGE_LINES_MAX,
    MERGE_SIZE_BYTES_MAX,
    Hunk,
    diff_hunks,
    is_binary,
    is_too_large,
    unified_diff,
)
from pwfs.merge.lines import BINARY_PROBE_BYTES, split_lines
from tests.merge.cases import random_case
from tests.merge.oracle import Case, Git

DIFFS = 200

texts = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"\n", b"\r\n", b"\xff\n", b"a\0\n", b"\r", b"end"]),
    max_size=12,
).map(b"".join)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The run's seed, which the report's header names."""
    return str(request.config.getoption("hypothesis_seed"))


@given(texts)
def test_lines_joined_are_the_content(content: bytes) -> None:
    """Cutting a content into lines loses nothing, and only LF ends a line."""
    lines = split_lines(content)
    assert b"".join(lines) == content
    assert all(line.endswith(b"\n") for line in lines[:-1])
    assert all(line.count(b"\n") <= 1 for line in lines)


@given(texts, texts)
def test_hunks_turn_the_old_text_into_the_new(old: bytes, new: bytes) -> None:
    """Putting each hunk's new lines in place of its old ones gives the new text."""
    old_lines, new_lines = split_lines(old), split_lines(new)
    result: list[bytes] = []
    at = 0
    for hunk in diff_hunks(old, new):
        result += old_lines[at : hunk.old_start]
        assert len(result) == hunk.new_start
        result += new_lines[hunk.new_start : hunk.new_end]
        at = hunk.old_end
    assert result + old_lines[at:] == new_lines


@given(texts, texts)
def test_hunks_are_apart(old: bytes, new: bytes) -> None:
    """Every hunk changes something, and an unchanged line stands between two of them."""
    hunks = diff_hunks(old, new)
    assert bool(hunks) == (old != new)
    assert all(hunk.old_count or hunk.new_count for hunk in hunks)
    assert all(before.old_end < after.old_start for before, after in pairwise(hunks))


@pytest.mark.parametrize(
    ("old", "new", "hunks"),
    [
        (b"", b"", []),
        (b"", b"a", [Hunk(0, 0, 0, 1)]),
        (b"a\n", b"", [Hunk(0, 1, 0, 0)]),
        (b"a\nb\n", b"a\nx\nb\n", [Hunk(1, 0, 1, 1)]),
        (b"a\nx\nb\n", b"a\nb\n", [Hunk(1, 1, 1, 0)]),
        (b"a\nb\n", b"a\nb\nc\n", [Hunk(2, 0, 2, 1)]),
        (b"a\nb", b"a\nb\n", [Hunk(1, 1, 1, 1)]),
        (b"a\r\nb\r\n", b"a\nb\r\n", [Hunk(0, 1, 0, 1)]),
        (b"a\0\nb\n", b"a\0\nc\n", [Hunk(1, 1, 1, 1)]),
        (b"x" * 5_000_000, b"x" * 5_000_001, [Hunk(0, 1, 0, 1)]),
        (b"\n" * 5000, b"\n" * 4990, [Hunk(4990, 10, 4990, 0)]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_hunks_count_from_zero(old: bytes, new: bytes, hunks: list[Hunk]) -> None:
    """Line numbers start at 0, and a gap is named by the line that follows it."""
    assert diff_hunks(old, new) == hunks


def test_unified_diffs_can_be_applied(git: Git, seed: str) -> None:
    """``git apply`` makes the new text of the old one, whatever the line endings and bytes."""
    for number in range(DIFFS):
        case = random_case(Random(f"{seed}/apply/{number}"))
        if not case.base or not case.yours or case.base == case.yours:
            continue
        patch = unified_diff(case.base, case.yours, old_label="a/file", new_label="b/file")
        assert git.apply(patch, {"file": case.base}) == {"file": case.yours}, (seed, number)


def test_unified_diffs_show_what_git_shows(git: Git) -> None:
    """The hunks are those of ``git diff``, byte for byte, in cases that stay the same.

    ``git diff`` cuts the common end off before it compares, which libgit2 does not: now and then
    one of several equally short scripts is chosen differently, so the cases are not drawn anew.
    """
    for number in range(DIFFS):
        case = random_case(Random(f"fixed/diff/{number}"))
        patch = unified_diff(case.base, case.yours, old_label="a", new_label="b")
        assert patch.removeprefix(b"--- a\n+++ b\n") == git.diff(case.base, case.yours), number


@pytest.mark.parametrize(
    "name",
    ["plain", "with space", 'quo"te', "back\\slash", "tab\there", "line\nbreak", "\x7f", "é"],
)
def test_names_survive_in_a_unified_diff(git: Git, name: str) -> None:
    """A file of any name is made, changed and deleted by diffs against ``/dev/null`` and itself."""
    old, new, gone = f"a/{name}", f"b/{name}", "/dev/null"
    make = unified_diff(b"", b"one", old_label=gone, new_label=new)
    change = unified_diff(b"one", b"one\ntwo\n", old_label=old, new_label=new)
    delete = unified_diff(b"one\ntwo\n", b"", old_label=old, new_label=gone)
    assert git.apply(make, {}) == {name: b"one"}
    assert git.apply(change, {name: b"one"}) == {name: b"one\ntwo\n"}
    assert git.apply(delete, {name: b"one\ntwo\n"}) == {}


def test_a_missing_last_newline_is_told() -> None:
    """The line without a newline is followed by the note that ``patch`` knows."""
    assert unified_diff(b"a\nb", b"a\nb\n", old_label="a/f", new_label="b/f") == (
        b"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"
    )


def test_equal_texts_have_no_diff() -> None:
    """Nothing changed, nothing to show: not even a header."""
    assert unified_diff(b"a\n", b"a\n", old_label="a/f", new_label="b/f") == b""
    assert unified_diff(b"", b"", old_label="/dev/null", new_label="b/f") == b""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text\n",
        b"\xff\xfe",
        b"\0",
        b"x" * (BINARY_PROBE_BYTES - 1) + b"\0",
        b"x" * BINARY_PROBE_BYTES + b"\0",
    ],
    ids=len,
)
def test_binary_is_what_git_holds_for_binary(git: Git, content: bytes) -> None:
    """`is_binary` is True for exactly what ``git merge-file`` refuses to merge."""
    assert is_binary(content) == git.refuses(Case(content, content, content))


def test_too_large_begins_after_the_limits() -> None:
    """A content of the greatest size is merged still, a byte or a line more is not."""
    assert not is_too_large(b"", bytes(MERGE_SIZE_BYTES_MAX), b"\n" * MERGE_LINES_MAX)
    assert is_too_large(b"", bytes(MERGE_SIZE_BYTES_MAX + 1))
    assert is_too_large(b"\n" * (MERGE_LINES_MAX + 1), b"")
