"""Random merges of the kinds that bring out differences between diff and merge algorithms.

Few distinct lines (so that a diff can be aligned in many ways), edits next to one another, the same
edit on both sides, moved and doubled blocks, both line endings, a missing last newline.
"""

from pathlib import Path
from random import Random

from tests.merge.oracle import Case, Git, disagreement

Lines = list[bytes]

_TINY = [b"a", b"b"]
_SMALL = [b"a", b"b", b"c", b"d"]
_CODE = [
    b"",
    b"",
    b"{",
    b"}",
    b"}",
    b"    return 0;",
    b"    x += 1;",
    b"int main()",
    b"/* */",
    b"\t",
]
_ODD = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"\r",
    b"a\rb",
    b" a",
    b"a ",
    b"caf\xc3\xa9",
    b"\x0c",
    b"@@ -1 +1 @@",
]
_MARKERS = [
    b"<<<<<<< x",
    b"=======",
    b">>>>>>> y",
    b"||||||| z",
    b"========",
    b"<<<<<<<",
    b"a",
    b"",
]
_NEW = [b"new", b"other", b"", b"}"]


def random_case(rng: Random, *, nul: bool = False) -> Case:
    """Makes up a merge; ``nul`` allows NUL bytes, which git does not merge."""
    alphabet = _alphabet(rng, nul=nul)
    length = rng.choice((0, 1, 2, 3, 5, 8, 8, 13, 20, 20, 40, 40, 80, 300))
    base = [rng.choice(alphabet) for _ in range(length)]
    if rng.random() < 0.3:
        base = [b"%d" % number if rng.random() < 0.8 else line for number, line in enumerate(base)]
    return _finished(rng, base, alphabet + _NEW)


def large_case(rng: Random) -> Case:
    """Makes up a merge of long and very different texts, where xdiff takes its short cuts."""
    distinct = rng.choice((3, 10, 50, 1000))
    alphabet = [b"%d" % number for number in range(distinct)]
    base = [rng.choice(alphabet) for _ in range(rng.choice((1000, 3000)))]
    if rng.random() < 0.5:
        return _finished(rng, base, alphabet)
    theirs, yours = (
        [rng.choice(alphabet) if rng.random() < 0.6 else line for line in base] for _ in range(2)
    )
    return Case(*(b"".join(line + b"\n" for line in lines) for lines in (base, theirs, yours)))


def _alphabet(rng: Random, *, nul: bool) -> Lines:
    match rng.randrange(12):
        case 0 | 1:
            return _TINY
        case 2 | 3 | 4:
            return _SMALL
        case 5 | 6 | 7 | 8:
            return _CODE
        case 9:
            return _ODD if nul else [line for line in _ODD if b"\0" not in line]
        case 10:
            return _MARKERS
        case _:
            return [b"line %d" % number for number in range(60)]


def _finished(rng: Random, base: Lines, alphabet: Lines) -> Case:
    """Edits a base twice, some edits on both sides, and makes bytes of the lines."""
    theirs, yours = base, base
    near = rng.randrange(len(base) + 1)
    # Both sides are edited in all but a few cases, which are left to chance.
    kinds = [0, 2] if rng.random() < 0.9 else []
    kinds += [rng.randrange(5) for _ in range(rng.choice((0, 1, 1, 2, 3, 8)))]
    for kind in kinds:
        if rng.random() < 0.5:
            near = rng.randrange(len(base) + 1)
        match kind:
            case 0 | 1:
                theirs = _edited(rng, theirs, near + rng.randint(-2, 2), alphabet)
            case 2 | 3:
                yours = _edited(rng, yours, near + rng.randint(-2, 2), alphabet)
            case _:
                seed = rng.getrandbits(32)
                theirs = _edited(Random(seed), theirs, near, alphabet)
                yours = _edited(Random(seed), yours, near, alphabet)
    style = rng.randrange(8)
    return Case(*(_joined(rng, lines, style) for lines in (base, theirs, yours)))


def _edited(rng: Random, lines: Lines, at: int, alphabet: Lines) -> Lines:
    """Makes one edit at or near a line."""
    at = min(max(at, 0), len(lines))
    size = rng.choice((1, 1, 1, 2, 3, 5))
    fresh = [rng.choice(alphabet) for _ in range(rng.choice((1, 1, 2, 3)))]
    match rng.randrange(8):
        case 0 | 1 | 2:
            return lines[:at] + fresh + lines[at + size :]
        case 3 | 4:
            return lines[:at] + fresh + lines[at:]
        case 5:
            return lines[:at] + lines[at + size :]
        case 6:
            return lines[:at] + lines[at : at + size] + lines[at:]
        case _:
            rest = lines[:at] + lines[at + size :]
            to = rng.randrange(len(rest) + 1)
            return rest[:to] + lines[at : at + size] + rest[to:]


def _joined(rng: Random, lines: Lines, style: int) -> bytes:
    """Ends the lines: LF in most cases, CRLF in some, both, one per side; at times not the last."""
    match style:
        case 0 | 1:
            ends = [b"\r\n"] * len(lines)
        case 2:
            ends = [rng.choice((b"\n", b"\r\n")) for _ in lines]
        case 3:
            ends = [rng.choice((b"\n", b"\r\n"))] * len(lines)
        case _:
            ends = [b"\n"] * len(lines)
    if ends and rng.random() < 0.15:
        ends[-1] = b""
    return b"".join(line + end for line, end in zip(lines, ends, strict=True))


def first_disagreement(directory: Path, seed: str, merges: int) -> str | None:
    """Compares many merges with git's, a hundredth of them large; tells of the first that differs."""
    git = Git(directory)
    for number in range(merges):
        name = f"{seed}/{number}"
        make = random_case if number % 100 else large_case
        found = disagreement(git, make(Random(name)))
        if found:
            return f"seed {name}: {found}"
    return None
