"""Conflict markers: git's bytes, and never to be confused with the text around them."""

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwfs.merge import Clean, Conflict, TextMerge, marker_size, merge_text, render
from tests.merge.cases import random_case
from tests.merge.oracle import Case, Git, rendered

MERGES = 150

lines = st.sampled_from(
    [b"a\n", b"b\n", b"\n", b"=======\n", b"<<<<<<<< x\n", b">>>>>>>>>\n", b"||||||| y\r\n"]
)
texts = st.builds(
    lambda whole, rest: b"".join(whole) + rest,
    st.lists(lines, max_size=8),
    st.sampled_from([b"", b"a", b"=======", b">>>>>>> y"]),
)


def parsed(text: bytes, size: int) -> list[tuple[bytes, bytes, bytes]]:
    """Reads the conflicts of a rendered text, knowing nothing but the marker size."""
    n = b"%d" % size
    conflict = re.compile(
        rb"^<{%b}(?: [^\n]*)?\r?\n(.*?)^\|{%b}(?: [^\n]*)?\r?\n(.*?)^={%b}\r?\n(.*?)^>{%b}(?: [^\n]*)?\r?\n"
        % (n, n, n, n),
        re.MULTILINE | re.DOTALL,
    )
    return [(theirs, base, yours) for theirs, base, yours in conflict.findall(text)]


def ended(lines: bytes, eol: bytes) -> bytes:
    return lines if not lines or lines.endswith(b"\n") else lines + eol


def test_markers_are_those_of_git(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """With markers of seven characters the text is ``git merge-file --zdiff3``'s own."""
    seed = str(request.config.getoption("hypothesis_seed"))
    git = Git(tmp_path)
    for number in range(MERGES):
        case = random_case(Random(f"{seed}/render/{number}"))
        merge = case.merged()
        if marker_size(merge) == 7:
            assert rendered(merge) == git.merge_file(case).text, (seed, number)


def test_a_conflict_reads_theirs_base_yours() -> None:
    """The parts stand in the order of diff3, each under a marker with its label."""
    merge = merge_text(base=b"0\nx\n9\n", theirs=b"0\na\n9\n", yours=b"0\nb\n9\n")
    assert render(merge, theirs_label="main@7", yours_label="fix-login@2") == (
        b"0\n<<<<<<< main@7\na\n||||||| base\nx\n=======\nb\n>>>>>>> fix-login@2\n9\n"
    )


def test_an_empty_label_leaves_no_space() -> None:
    """A marker without a label ends after its characters."""
    merge = merge_text(base=b"", theirs=b"a\n", yours=b"b\n")
    text = render(merge, theirs_label="", yours_label="", base_label="")
    assert text == b"<<<<<<<\na\n|||||||\n=======\nb\n>>>>>>>\n"


def test_labels_need_not_be_ascii() -> None:
    """Labels are written as UTF-8."""
    merge = merge_text(base=b"", theirs=b"a\n", yours=b"b\n")
    assert "<<<<<<< é\n".encode() in render(merge, theirs_label="é", yours_label="y")


@pytest.mark.parametrize("label", ["a\nb", "a\r"])
def test_a_label_of_two_lines_is_refused(label: str) -> None:
    """A line break in a label would make a line that no side has."""
    merge = merge_text(base=b"", theirs=b"a\n", yours=b"b\n")
    with pytest.raises(ValueError, match="more than one line"):
        render(merge, theirs_label=label, yours_label="y")


def test_a_clean_merge_is_its_content() -> None:
    """Without conflicts nothing is added, not even a last newline."""
    merge = merge_text(base=b"a\nb\nc", theirs=b"A\nb\nc", yours=b"a\nb\nC")
    assert render(merge, theirs_label="t", yours_label="y") == merge.content == b"A\nb\nC"


def test_crlf_files_have_crlf_markers() -> None:
    """The markers, and the newline a last line lacks, are CRLF where the text is."""
    merge = merge_text(base=b"0\r\nx", theirs=b"0\r\na", yours=b"0\r\nb\r\n")
    assert render(merge, theirs_label="t", yours_label="y") == (
        b"0\r\n<<<<<<< t\r\na\r\n||||||| base\r\nx\r\n=======\r\nb\r\n>>>>>>> y\r\n"
    )


def test_a_missing_last_newline_is_added_inside_a_conflict_only() -> None:
    """The marker after a last line without newline stands on a line of its own."""
    merge = merge_text(base=b"0\nx", theirs=b"0\na", yours=b"0\nb")
    assert merge.conflicts == (Conflict(b"x", b"a", b"b"),)
    assert render(merge, theirs_label="t", yours_label="y") == (
        b"0\n<<<<<<< t\na\n||||||| base\nx\n=======\nb\n>>>>>>> y\n"
    )


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"=======\n", 8),
        (b"=======\r\n", 8),
        (b"=======", 8),
        (b"<<<<<<< HEAD\n", 8),
        (b"||||||| x\n>>>>>>>> y\n", 9),
        (b"========\n", 7),
        (b"====================\n", 7),
        (b"=======x\n", 7),
        (b" =======\n", 7),
        (b"text =======\n", 7),
        (b"-------\n", 7),
    ],
)
def test_markers_are_longer_where_the_text_has_such_lines(line: bytes, size: int) -> None:
    """The smallest size is taken that no line of the merge looks like a marker of."""
    conflict = Conflict(b"x\n", b"a\n", b"b\n")
    assert marker_size(TextMerge((Clean(b"a\n" + line), conflict))) == size
    assert marker_size(TextMerge((Conflict(b"", b"", line),))) == size
    assert marker_size(TextMerge((Conflict(line, b"", b"a"),))) == size


def test_a_rendered_conflict_can_conflict_again() -> None:
    """The markers of a merge of marked texts are longer than those in it."""
    first = merge_text(base=b"", theirs=b"a\n", yours=b"b\n")
    marked = render(first, theirs_label="t", yours_label="y")
    again = merge_text(base=marked, theirs=marked.replace(b"a", b"A"), yours=b"resolved\n")
    assert render(again, theirs_label="t", yours_label="y").startswith(b"<<<<<<<< t\n<<<<<<< t\n")


@given(st.builds(Case, texts, texts, texts))
def test_conflicts_can_be_read_back(case: Case) -> None:
    """Whatever the text holds, its conflicts are found again by the marker size alone."""
    merge = case.merged()
    assert parsed(rendered(merge), marker_size(merge)) == [
        (ended(c.theirs, c.eol), ended(c.base, c.eol), ended(c.yours, c.eol))
        for c in merge.conflicts
    ]
