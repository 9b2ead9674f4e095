"""Three-way merges: git's verdict and text, and what must hold of any merge."""

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pwfs.merge import Clean, Conflict, Region, TextMerge, diff_hunks, merge_text
from pwfs.merge.lines import split_lines
from tests.merge.cases import large_case, random_case
from tests.merge.oracle import Case, Git, disagreement

MERGES = 1500
LARGE_MERGES = 15

lines = st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"\r\n", b"a\r\n", b"\xff\0\n"])
texts = st.builds(
    lambda whole, rest: b"".join(whole) + rest,
    st.lists(lines, max_size=10),
    st.sampled_from([b"", b"", b"a", b"end", b"\r"]),
)
cases = st.builds(Case, texts, texts, texts)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The run's seed, which the report's header names."""
    return str(request.config.getoption("hypothesis_seed"))


def resolved(merge: TextMerge, side: str) -> bytes:
    """The text that taking one side of every conflict gives."""
    return b"".join(
        region.content if isinstance(region, Clean) else getattr(region, side)
        for region in merge.regions
    )


def test_merges_are_those_of_git(git: Git, seed: str) -> None:
    """Verdict, number of conflicts and text agree with ``git merge-file --zdiff3``."""
    for number in range(MERGES):
        found = disagreement(git, random_case(Random(f"{seed}/{number}")))
        assert found is None, f"seed {seed}, merge {number}: {found}"


def test_long_unlike_texts_merge_as_in_git(git: Git, seed: str) -> None:
    """Agreement holds where xdiff takes short cuts instead of finding the smallest difference."""
    for number in range(LARGE_MERGES):
        found = disagreement(git, large_case(Random(f"{seed}/large/{number}")))
        assert found is None, f"seed {seed}, merge {number}: {found}"


def test_taking_one_side_is_what_git_takes(git: Git, seed: str) -> None:
    """Clean regions with every conflict's theirs, or yours, are git's ``--ours`` or ``--theirs``."""
    for number in range(MERGES // 10):
        case = random_case(Random(f"{seed}/sides/{number}"))
        merge = case.merged()
        assert resolved(merge, "theirs") == git.merge_file(case, "--ours").text, (seed, number)
        assert resolved(merge, "yours") == git.merge_file(case, "--theirs").text, (seed, number)


@given(texts, texts)
def test_an_unchanged_side_gives_way(base: bytes, changed: bytes) -> None:
    """Where only one side changed the base, the merge is that side; where both agree, it is both."""
    assert merge_text(base=base, theirs=changed, yours=base).content == changed
    assert merge_text(base=base, theirs=base, yours=changed).content == changed
    assert merge_text(base=base, theirs=changed, yours=changed).content == changed


@given(cases)
def test_sides_can_be_swapped(case: Case) -> None:
    """Swapping the sides swaps them in every conflict and changes nothing else."""
    swapped = merge_text(base=case.base, theirs=case.yours, yours=case.theirs)
    assert swapped.regions == tuple(
        Conflict(region.base, region.yours, region.theirs, region.eol)
        if isinstance(region, Conflict)
        else region
        for region in case.merged().regions
    )


@given(cases)
def test_no_edit_of_a_side_is_lost(case: Case) -> None:
    """What a side put in stands in the merge as soon as its part of every conflict is taken.

    The converse, that these parts give the side back, does not hold: clean regions have the other
    side's edits too.
    """
    merge = case.merged()
    for side, content in (("theirs", case.theirs), ("yours", case.yours)):
        text, its_lines = resolved(merge, side), split_lines(content)
        at = 0
        for hunk in diff_hunks(case.base, content):
            put_in = b"".join(its_lines[hunk.new_start : hunk.new_end])
            at = text.find(put_in, at)
            assert at >= 0
            at += len(put_in)


@given(cases)
def test_every_line_of_the_base_is_accounted_for(case: Case) -> None:
    """Conflicts show the base in order, each part once, and nothing that is not the base's."""
    at = 0
    for conflict in case.merged().conflicts:
        at = case.base.find(conflict.base, at)
        assert at >= 0
        at += len(conflict.base)


@given(cases)
@example(Case(b"", b"", b""))
@example(Case(b"a\n", b"", b""))
def test_regions_are_in_their_simplest_form(case: Case) -> None:
    """No clean region is empty or follows another, and no conflict begins or ends with agreement."""
    regions = case.merged().regions
    for before, after in pairwise(regions):
        assert not (isinstance(before, Clean) and isinstance(after, Clean))
    for region in regions:
        match region:
            case Clean(content):
                assert content
            case Conflict(_, theirs, yours):
                ours, other = split_lines(theirs), split_lines(yours)
                if ours and other:
                    assert ours[0] != other[0]
                    assert ours[-1] != other[-1]


def test_separate_edits_are_merged() -> None:
    """Edits with an untouched line between them do not conflict."""
    merge = merge_text(base=b"a\nb\nc\n", theirs=b"A\nb\nc\n", yours=b"a\nb\nC\n")
    assert merge.is_clean
    assert merge.content == b"A\nb\nC\n"
    assert merge.conflicts == ()


def test_adjacent_edits_conflict() -> None:
    """Without an untouched line between them, edits conflict, as in git."""
    merge = merge_text(base=b"a\nb\n", theirs=b"A\nb\n", yours=b"a\nB\n")
    assert merge.regions == (Conflict(base=b"a\nb\n", theirs=b"A\nb\n", yours=b"a\nB\n"),)


def test_the_same_edit_is_taken_once() -> None:
    """An edit that both sides made is in the result once, next to edits of either."""
    merge = merge_text(base=b"1\n2\n3\n4\n5\n", theirs=b"1\nx\n3\n4\n", yours=b"0\n1\nx\n3\n4\n5\n")
    assert merge.content == b"0\n1\nx\n3\n4\n"


def test_agreement_around_a_conflict_is_clean() -> None:
    """Lines that both sides put first and last are trimmed off the conflict, not off its base."""
    merge = merge_text(base=b"0\n9\n", theirs=b"0\na\nb\nc\n9\n", yours=b"0\na\nB\nc\n9\n")
    expected: tuple[Region, ...] = (
        Clean(b"0\na\n"),
        Conflict(base=b"", theirs=b"b\n", yours=b"B\n"),
        Clean(b"c\n9\n"),
    )
    assert merge.regions == expected


def test_a_conflict_has_no_content() -> None:
    """Asking a merge with conflicts for its text is a mistake, and says so."""
    merge = merge_text(base=b"a\n", theirs=b"b\n", yours=b"c\n")
    assert not merge.is_clean
    with pytest.raises(ValueError, match="conflicts"):
        _ = merge.content


def test_markers_in_a_text_are_no_conflict() -> None:
    """A conflict is known by its region: a text with markers in it merges like any other."""
    marked = b"<<<<<<< x\na\n=======\nb\n>>>>>>> y\n"
    merge = merge_text(base=b"a\n", theirs=b"a\n" + marked, yours=b"0\n\na\n")
    assert merge.is_clean
    assert merge.content == b"0\n\na\n" + marked


def test_files_added_on_both_sides_share_their_ends() -> None:
    """Without a base, the sides conflict but for their common beginning and end."""
    merge = merge_text(base=b"", theirs=b"#!\nx\nend\n", yours=b"#!\ny\nend\n")
    assert merge.regions == (Clean(b"#!\n"), Conflict(b"", b"x\n", b"y\n"), Clean(b"end\n"))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(b"x" * 999_999, b"y" * 999_999, b"z" * 999_999), id="one long line"),
        pytest.param(Case(b"\n" * 900, b"\n" * 800, b"\n" * 1000), id="all lines equal"),
        pytest.param(Case(b"a\nb", b"a\nb\n", b"a\nB"), id="last newline added and line changed"),
        pytest.param(Case(b"a\nb\n", b"a\nb", b"a\nb\nc\n"), id="last newline removed, line added"),
        pytest.param(Case(b"a\r\nb\r\n", b"a\nb\n", b"a\r\nB\r\n"), id="line endings converted"),
        pytest.param(Case(b"", b"a\r\n", b"b\r\n"), id="CRLF without a base"),
        pytest.param(Case(b"a\n", b"", b"b\n"), id="emptied and changed"),
        pytest.param(Case(b"\xff\n\xfe\n", b"\xff\n\xfd\n", b"\xff\n\xfc"), id="not UTF-8"),
    ],
)
def test_extremes_merge_as_in_git(git: Git, case: Case) -> None:
    """Unusual texts are no exceptions to the agreement with git."""
    assert disagreement(git, case) is None


def test_bytes_after_a_nul_are_merged_too() -> None:
    """NUL bytes are content like any other; what is binary, the caller decides."""
    merge = merge_text(base=b"\0\nb\n\0c", theirs=b"\0\0\nb\n\0c", yours=b"\0\nb\n\0d")
    assert merge.content == b"\0\0\nb\n\0d"
