"""The declared rule of independence: what a change concerns, by its paths or by what a command says.

A rule answers for one version of a change with its *targets*, or that they are not known. Whoever
has no target in common with another may overtake it, so a doubt is always "not known".
"""

import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pathspec import GitIgnoreSpec

from pwfs.model.ids import ChangeId, Seq
from pwfs.model.paths import RepoPath

RULE_LINES_MAX = 200
PATHS_MAX = 2_000
"""A change that touches more paths has no known targets."""
TARGETS_MAX = 1_000
TARGET_LENGTH_MAX_BYTES = 200
PRINTED_MAX_BYTES = TARGETS_MAX * (TARGET_LENGTH_MAX_BYTES + 1)
"""What a command may print."""


class TargetsUnknown(ValueError):
    """Why a rule does not tell the targets of a change: an answer, never a user's fault."""


class RuleKind(enum.StrEnum):
    """Where targets come from."""

    PATHS = "paths"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Rule:
    """A declared rule: the lines of ``target-paths``, or the command ``target-cmd``."""

    kind: RuleKind
    text: str

    @property
    def digest(self) -> str:
        """Names the rule: 64 hexadecimal digits."""
        return hashlib.sha256(f"{self.kind.value}\n{self.text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a rule, named by its digest, told of a version: its targets, in order, without doubles.

    ``targets`` is None where they are not known, and ``detail`` says why. ``base_seq`` is what main
    was when the rule was asked.
    """

    change_id: ChangeId
    version: int
    rule: str
    base_seq: Seq
    targets: tuple[str, ...] | None
    detail: str
    declared_at: datetime


class PathTargets:
    """The rule of paths: lines of ``PATTERN: TARGET ...``, patterns as in a ``.gitignore``.

    A path has the targets of all patterns that match it. Empty lines and those that begin with
    ``#`` say nothing.
    """

    def __init__(self, patterns: Mapping[str, tuple[str, ...]]) -> None:
        self._specs = {
            target: GitIgnoreSpec.from_lines(found) for target, found in patterns.items()
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a rule.

        Raises:
            ValueError: a line is none; the message is for people.
        """
        patterns: dict[str, tuple[str, ...]] = {}
        lines = text.splitlines()
        if len(lines) > RULE_LINES_MAX:
            raise ValueError(f"has {len(lines)} lines, more than {RULE_LINES_MAX}")
        for number, line in enumerate(map(str.strip, lines), 1):
            if line and not line.startswith("#"):
                pattern, targets = _parse_line(line, number)
                for target in targets:
                    patterns[target] = (*patterns.get(target, ()), pattern)
        return cls(patterns)

    def targets(self, paths: Iterable[RepoPath]) -> frozenset[str]:
        """The targets of a change that touches some paths.

        Raises:
            TargetsUnknown: no pattern matches one of them, or there is none.
        """
        found: set[str] = set()
        for path in paths:
            own = {target for target, spec in self._specs.items() if spec.match_file(path)}
            if not own:
                raise TargetsUnknown(f"no pattern matches {path}")
            found |= own
        if not found:
            raise TargetsUnknown("it touches no path")
        return _limited(found)


def _parse_line(line: str, number: int) -> tuple[str, list[str]]:
    pattern, colon, rest = (line + " ").rpartition(": ")
    targets, pattern = rest.split(), pattern.strip()
    if not colon or not pattern or not targets:
        raise ValueError(f"line {number} is not PATTERN: TARGET ...: {line!r}")
    if pattern.startswith("!"):
        raise ValueError(f"line {number}: a pattern cannot be taken back with '!'")
    for target in targets:
        if reason := _unusable(target):
            raise ValueError(f"line {number}: {reason}")
    try:
        is_pattern = any(each.include for each in GitIgnoreSpec.from_lines([pattern]).patterns)
    except (ValueError, re.error):
        is_pattern = False
    if not is_pattern:
        raise ValueError(f"line {number}: {pattern!r} is no pattern that matches anything")
    return pattern, targets


def read_printed(output: bytes) -> frozenset[str]:
    """Reads what a command printed: a target a line; empty lines say nothing.

    Raises:
        TargetsUnknown: it is not to be understood as targets, or there is none.
    """
    if len(output) > PRINTED_MAX_BYTES:
        raise TargetsUnknown(f"target-cmd printed more than {PRINTED_MAX_BYTES} bytes")
    try:
        lines = output.decode().split("\n")
    except UnicodeDecodeError:
        raise TargetsUnknown("target-cmd printed what is not UTF-8") from None
    found = {line.strip() for line in lines} - {""}
    if not found:
        raise TargetsUnknown("target-cmd printed no target")
    for target in sorted(found):
        if reason := _unusable(target):
            raise TargetsUnknown(f"target-cmd printed {reason}")
    return _limited(found)


def _unusable(target: str) -> str:
    """Why a text is no target; nothing if it is one."""
    if not target.isprintable():
        return f"{target[:40]!r}, which is no target: it has control characters"
    if len(target.encode()) > TARGET_LENGTH_MAX_BYTES:
        return f"a target of more than {TARGET_LENGTH_MAX_BYTES} bytes: {target[:40]!r}..."
    return ""


def _limited(found: set[str]) -> frozenset[str]:
    if len(found) > TARGETS_MAX:
        raise TargetsUnknown(f"it has {len(found)} targets, more than {TARGETS_MAX}")
    return frozenset(found)
