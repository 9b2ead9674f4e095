"""What the declared rule tells of versions: asked once, kept, and read for the queue's scheduler.

A rule speaks of the paths that a version itself touches. Where a landing moved one of these to another
name meanwhile, or the version moves a whole directory and whatever is in it by then, the version
touches more than is seen from it, and its targets are not known.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from pwfs.model.changes import Change
from pwfs.model.errors import BlobDamaged, BlobMissing
from pwfs.model.events import EventType
from pwfs.model.ids import ChangeId, Seq, TreeHash
from pwfs.model.paths import RepoPath, split
from pwfs.model.queue import ItemState, Member
from pwfs.model.targets import (
    PATHS_MAX,
    Declaration,
    PathTargets,
    Rule,
    RuleKind,
    TargetsUnknown,
)
from pwfs.repo.conflicts import Conflicts
from pwfs.repo.layout import Layout
from pwfs.store.protocols import BlobStore, LogStore
from pwfs.submit.independence import Independence, with_shared_paths
from pwfs.submit.ordering import in_queue_order
from pwfs.views.overlay import OverlayEdits
from pwfs.views.resolution import Renames

RENAMES_KEPT_MAX = 256
KEPT_MAX = 4_096
_NOT_TOLD = "target-cmd did not tell them yet"

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
parse_paths = lru_cache(4)(PathTargets.parse)


@dataclass(frozen=True, slots=True)
class Question:
    """What a command is asked of: a version, in the tree ``root`` that it gives on main.

    ``paths`` are those that the version touches.
    """

    member: Member
    rule: Rule
    base_seq: Seq
    root: TreeHash
    paths: tuple[RepoPath, ...]


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a version touches, and where main was when each of these paths was seen."""

    paths: frozenset[RepoPath]
    seen: tuple[tuple[RepoPath, Seq], ...]


class Targets(Conflicts):
    """The part of a repository that knows what changes concern."""

    def __init__(self, layout: Layout, log: LogStore, blobs: BlobStore) -> None:
        super().__init__(layout, log, blobs)
        # Neither a version nor what was told of it is ever another.
        self._reaches: dict[Member, _Reach] = {}
        self._declarations: dict[tuple[Member, str], Declaration] = {}

    def undeclared(self) -> list[Member]:
        """The queued versions of which the rule has told nothing yet, first to land first."""
        rule = self.config.rule
        if rule is None:
            return []
        queued = self.log.items(states=[ItemState.QUEUED])
        members = [member for item in queued for member in item.members]
        return [member for member in members if self._stored(member, rule) is None]

    def ask(self, member: Member) -> Question | None:
        """What a command must be asked of a version; None if it is not needed, and all is stored."""
        rule = self.config.rule
        if rule is None:
            return None
        if rule.kind is RuleKind.PATHS:
            self.declare(self.declaration(member, rule))
            return None
        seq, _ = self.main()
        try:
            paths = tuple(sorted(self.touched_by(member)))
            root = self.candidate(seq, (*self._needed_by(member), member)).root
            if root is None:
                raise TargetsUnknown("it does not merge with main")
        except (TargetsUnknown, BlobMissing, BlobDamaged) as error:
            self.declare(self._declaration(member, rule, None, str(error)))
            return None
        return Question(member, rule, seq, root, paths)

    def _needed_by(self, member: Member) -> list[Member]:
        """The queued versions that a version depends on, lowest first."""
        items = self.log.items(states=[ItemState.QUEUED])
        members = [m for item in items for m in item.members]
        dependencies = {m.change_id: self.change(m.change_id).dependencies for m in members}
        needed = Independence({}, dependencies).needed(member.change_id)
        ordered = [m for item in in_queue_order(items, dependencies, {}) for m in item.members]
        return [m for m in ordered if m.change_id in needed]

    def declare(self, declaration: Declaration) -> None:
        """Stores what a rule told of a version; what it told before stays."""
        known = (declaration.change_id, declaration.version, declaration.rule)
        if self.log.declaration(*known) is not None:
            return
        with self.transaction():
            self.log.insert_declaration(declaration)
            self.publish(
                EventType.TARGETS_DECLARED,
                change_id=declaration.change_id,
                version=declaration.version,
                targets=None if declaration.targets is None else list(declaration.targets),
                detail=declaration.detail,
            )

    def declaration(self, member: Member, rule: Rule) -> Declaration:
        """What a rule tells of a version: what was stored, or what its paths say.

        Raises:
            TargetsUnknown: its command was not asked yet.
        """
        stored = self._stored(member, rule)
        if stored is not None:
            return stored
        if rule.kind is not RuleKind.PATHS:
            raise TargetsUnknown(_NOT_TOLD)
        try:
            found = self._targets_by_paths(rule, self.touched_by(member))
        except TargetsUnknown as error:
            return self._declaration(member, rule, None, str(error))
        return self._declaration(member, rule, found, "")

    @staticmethod
    def _targets_by_paths(rule: Rule, touched: frozenset[RepoPath]) -> frozenset[str]:
        if rule.kind is not RuleKind.PATHS:
            raise TargetsUnknown(_NOT_TOLD)
        return parse_paths(rule.text).targets(touched)

    def _stored(self, member: Member, rule: Rule) -> Declaration | None:
        key = (member, rule.digest)
        known = self._declarations.get(key)
        if known is None:
            known = self.log.declaration(member.change_id, member.version, rule.digest)
            if known is not None and not self.log.in_transaction:
                _keep(self._declarations, key, known)
        return known

    def answer(self, question: Question, targets: frozenset[str] | None, detail: str) -> None:
        """Stores what a command told; None for what it did not, and why in ``detail``."""
        told = self._declaration(question.member, question.rule, targets, detail)
        self.declare(replace(told, base_seq=question.base_seq))

    def _declaration(
        self, member: Member, rule: Rule, targets: frozenset[str] | None, detail: str
    ) -> Declaration:
        return Declaration(
            change_id=member.change_id,
            version=member.version,
            rule=rule.digest,
            base_seq=self.main()[0],
            targets=None if targets is None else tuple(sorted(targets)),
            detail=detail,
            declared_at=self.now(),
        )

    def touched_by(self, member: Member) -> frozenset[RepoPath]:
        """Every path that a version touches, both names of a renamed file.

        Raises:
            TargetsUnknown: that cannot be told from the version, or it is too much.
        """
        return self._reach(member).paths

    def _reach(self, member: Member) -> _Reach:
        known = self._reaches.get(member)
        if known is None:
            known = _reach(self.edits(self.change(member.change_id), member.version))
            _keep(self._reaches, member, known)
        return known

    def known_targets(
        self, members: Iterable[Member], drafts: Iterable[Change] = ()
    ) -> dict[ChangeId, frozenset[str]]:
        """The targets of changes at some versions each, with the paths that they share.

        A change is in it whose targets are known at each of its versions. Of ``drafts`` it is what
        they do now that counts, which only a rule by paths can tell.
        """
        rule = self.config.rule
        if rule is None:
            return {}
        renames = lru_cache(RENAMES_KEPT_MAX)(self.renames_between)
        targets: dict[ChangeId, frozenset[str]] = {}
        paths: dict[ChangeId, frozenset[RepoPath]] = {}
        unknown: set[ChangeId] = set()
        for member in dict.fromkeys(members):
            try:
                found = self.targets_of(member, rule, renames)
                touched = self.touched_by(member)
            except TargetsUnknown:
                unknown.add(member.change_id)
                continue
            change_id = member.change_id
            targets[change_id] = targets.get(change_id, frozenset()) | found
            paths[change_id] = paths.get(change_id, frozenset()) | touched
        for change in drafts:
            try:
                touched = _reach(self.edits(change)).paths
                targets[change.id] = self._targets_by_paths(rule, touched)
                paths[change.id] = touched
            except TargetsUnknown:
                unknown.add(change.id)
        known = {
            change_id: found for change_id, found in targets.items() if change_id not in unknown
        }
        return with_shared_paths(known, paths)

    def targets_of(
        self,
        member: Member,
        rule: Rule,
        renames_between: Callable[[Seq, Seq], Renames] | None = None,
    ) -> frozenset[str]:
        """The targets of a version on main as it is, or as it was when the version landed.

        Raises:
            TargetsUnknown: they are not known.
        """
        declared = self.declaration(member, rule)
        if declared.targets is None:
            raise TargetsUnknown(declared.detail)
        seen = self._reach(member).seen
        landing = self.log.landing_of(member.change_id)
        has_landed = landing is not None and landing.version == member.version
        until = landing.previous_seq if landing is not None and has_landed else self.main()[0]
        moved = _first_moved(seen, until, renames_between or self.renames_between)
        if moved is not None:
            raise TargetsUnknown(f"main moved {moved} since")
        return frozenset(declared.targets)

    def described_targets(self, members: Sequence[Member]) -> list[dict[str, object]] | None:
        """What is known of an item's versions now, as JSON shows it; None without a rule."""
        rule = self.config.rule
        if rule is None:
            return None
        described: list[dict[str, object]] = []
        for member in members:
            targets, detail = None, ""
            try:
                targets = sorted(self.targets_of(member, rule))
            except TargetsUnknown as error:
                detail = str(error)
            described.append(
                {
                    "change_id": member.change_id,
                    "version": member.version,
                    "targets": targets,
                    "detail": detail,
                }
            )
        return described


def _reach(edits: OverlayEdits) -> _Reach:
    if edits.directory_moves:
        raise TargetsUnknown(f"it moves the directory {min(edits.directory_moves)} as a whole")
    paths: set[RepoPath] = set()
    seen: set[tuple[RepoPath, Seq]] = set()
    for edit in edits.edits.values():
        paths.update(p for p in (edit.path, edit.origin, edit.moved_to) if p is not None)
        seen.update((path, edit.base_seq) for path in (edit.path, edit.source))
    if len(paths) > PATHS_MAX:
        raise TargetsUnknown(f"it touches {len(paths)} paths, more than {PATHS_MAX}")
    return _Reach(frozenset(paths), tuple(sorted(seen)))


def _first_moved(
    seen: Iterable[tuple[RepoPath, Seq]],
    until: Seq,
    renames_between: Callable[[Seq, Seq], Renames],
) -> RepoPath | None:
    """A path that main moved, itself or its directory, after it was seen."""
    for path, since in seen:
        if since < until:
            renames = renames_between(since, until)
            if path in renames.files or renames.directory_target(split(path)[0]) is not None:
                return path
    return None


def _keep(known: dict[Key, Value], key: Key, value: Value) -> None:
    if len(known) >= KEPT_MAX:
        known.clear()
    known[key] = value
