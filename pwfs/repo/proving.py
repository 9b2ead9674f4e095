"""Why a test of one tree speaks for another: what the two differ in is independent of what lands.

The same questions are asked before such a result counts, in the step that lands it, and by
`patchwork verify`, which composes by other means (`doubts`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pwfs.model.changes import Landing
from pwfs.model.errors import NotIndependent
from pwfs.model.ids import ChangeId, Seq, TreeHash
from pwfs.model.paths import RepoPath, parents
from pwfs.model.queue import Attempt, AttemptState, IndependenceProof, Member, QueueItem, TestKey
from pwfs.model.targets import Declaration, Rule, RuleKind, TargetsUnknown
from pwfs.repo.targets import Targets, parse_paths
from pwfs.submit.independence import Independence
from pwfs.views.trees import diff_trees

RootOf: TypeAlias = Callable[[Seq, Sequence[Member]], TreeHash | None]
"""The tree of versions, in order, on main at a number; None if they conflict."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What lands: ``stack`` on main at ``base_seq``, the tree ``base_root``, gives ``root``."""

    base_seq: Seq
    base_root: TreeHash
    stack: tuple[Member, ...]
    root: TreeHash


class Proving(Targets):
    """The part of a repository that tells whether a result counts for another tree."""

    def prove(
        self, item: QueueItem, run: Attempt, base_seq: Seq, stack: Sequence[Member], key: TestKey
    ) -> IndependenceProof:
        """Proves that an item's test ``run`` speaks for the stack on main as it is.

        Raises:
            NotIndependent: it does not, by the rule as it is now, or it cannot be shown.
        """
        main_seq, main_root = self.main()
        outcome = Outcome(base_seq, main_root, tuple(stack), key.root)
        besides, without = differing(self, run.base_seq, run.stack, outcome)
        others = (*besides, *without)
        reason = _unfit(item, run, outcome, key) or self._dependent(item, others)
        if base_seq != main_seq:
            reason = f"main is at {main_seq}, not at {base_seq}"
        rule = self.config.rule
        if reason or rule is None:
            raise NotIndependent(item.id, reason or "no rule is declared")
        either = self.candidate(base_seq, (*outcome.stack, *without)).root
        if either is None:
            raise NotIndependent(item.id, "not all of it merges")
        proof = IndependenceProof(
            tested_base_seq=run.base_seq,
            tested_base_root=self.main_at(run.base_seq)[1],
            tested_stack=run.stack,
            tested_root=run.key.root,
            besides=besides,
            without=without,
            rule=rule,
            declarations=tuple(self._kept(member, rule) for member in (*outcome.stack, *others)),
            either_root=either,
        )
        for doubt in doubts(self, proof, outcome, self._root_of):
            raise NotIndependent(item.id, doubt)
        return proof

    def _dependent(self, item: QueueItem, others: Sequence[Member]) -> str:
        """Which of some versions the rule, as it is now, does not call independent of an item."""
        members = (*item.members, *others)
        independence = Independence(self.known_targets(members), _dependencies(self, members))
        for other in others:
            if not independence.of_change(item, other.change_id):
                return f"nothing declares it independent of {other.change_id}"
        return ""

    def _kept(self, member: Member, rule: Rule) -> Declaration:
        """What the rule tells of a version, stored for good."""
        self.declare(self.declaration(member, rule))
        return self.declaration(member, rule)

    def _root_of(self, seq: Seq, members: Sequence[Member]) -> TreeHash | None:
        return self.candidate(seq, members).root


def _unfit(item: QueueItem, run: Attempt, outcome: Outcome, key: TestKey) -> str:
    if run.item_id != item.id or run.state is not AttemptState.PASSED or run.rests_on is not None:
        return f"attempt {run.id} is not a test of it that passed"
    if (run.key.command, run.key.environment_hash) != (key.command, key.environment_hash):
        return f"attempt {run.id} was another test"
    return "" if outcome.stack == item.members else "it would land together with others"


def differing(
    repo: Targets, tested_base_seq: Seq, tested: Sequence[Member], outcome: Outcome
) -> tuple[tuple[Member, ...], tuple[Member, ...]]:
    """What lands, or landed since a test began, and was not in it; and what was in it and did not."""
    landed = [
        Member(each.change_id, each.version) for each in _since(repo, tested_base_seq, outcome)
    ]
    besides = tuple(m for m in (*landed, *outcome.stack) if m not in tested)
    without = tuple(m for m in tested if m not in landed and m not in outcome.stack)
    return besides, without


def _since(repo: Targets, tested_base_seq: Seq, outcome: Outcome) -> list[Landing]:
    return [each for each in repo.log.landings(tested_base_seq) if each.seq <= outcome.base_seq]


def doubts(
    repo: Targets, proof: IndependenceProof, outcome: Outcome, root_of: RootOf
) -> Iterator[str]:
    """Tells in what a proof does not hold; nothing if what was tested speaks for what lands."""
    found = differing(repo, proof.tested_base_seq, proof.tested_stack, outcome)
    if found != (proof.besides, proof.without):
        yield "what was tested differs from what landed in other changes than it says"
    if repo.main_at(proof.tested_base_seq) != (proof.tested_base_seq, proof.tested_base_root):
        yield f"main at {proof.tested_base_seq} was not {proof.tested_base_root}"
    yield from _declared(repo, proof, outcome)
    try:
        yield from _touching(repo, proof, outcome)
    except TargetsUnknown as error:
        yield str(error)
    yield from _composed(proof, outcome, root_of)


def _declared(repo: Targets, proof: IndependenceProof, outcome: Outcome) -> Iterator[str]:
    """By the targets as they are stored, and by the paths where the rule is one of paths."""
    others = (*proof.besides, *proof.without)
    members = (*outcome.stack, *others)
    if tuple(Member(d.change_id, d.version) for d in proof.declarations) != members:
        yield "it does not tell of each change what the rule declares"
        return
    for member, told in zip(members, proof.declarations, strict=True):
        name = f"{member.change_id}@{member.version}"
        stored = repo.log.declaration(member.change_id, member.version, proof.rule.digest)
        if told.rule != proof.rule.digest or stored != told:
            yield f"the rule did not declare of {name} what it says"
        if not told.targets:
            yield f"the targets of {name} are not known"
        if proof.rule.kind is RuleKind.PATHS and not _is_by_paths(repo, member, proof, told):
            yield f"the paths of {name} have other targets"
    own = {
        target for told in proof.declarations[: len(outcome.stack)] for target in told.targets or ()
    }
    for told in proof.declarations[len(outcome.stack) :]:
        if shared := own.intersection(told.targets or ()):
            yield f"it has the target {min(shared)} in common with {told.change_id}"
    needs = Independence({}, _dependencies(repo, outcome.stack))
    for member in outcome.stack:
        if needed := needs.needed(member.change_id).intersection(o.change_id for o in others):
            yield f"{member.change_id} depends on {min(needed)}"


def _dependencies(repo: Targets, members: Sequence[Member]) -> dict[ChangeId, tuple[ChangeId, ...]]:
    """What some changes depend on, and what these do, and so on."""
    found: dict[ChangeId, tuple[ChangeId, ...]] = {}
    pending = [member.change_id for member in members]
    while pending:
        change_id = pending.pop()
        if change_id not in found:
            found[change_id] = repo.change(change_id).dependencies
            pending.extend(found[change_id])
    return found


def _is_by_paths(
    repo: Targets, member: Member, proof: IndependenceProof, told: Declaration
) -> bool:
    try:
        found = parse_paths(proof.rule.text).targets(repo.touched_by(member))
    except (TargetsUnknown, ValueError):
        return False
    return tuple(sorted(found)) == told.targets


def _touching(repo: Targets, proof: IndependenceProof, outcome: Outcome) -> Iterator[str]:
    """Whether what landed changed only what the versions themselves touch, and nothing of the others."""
    own = _paths(repo, outcome.stack)
    beyond = {d.path for d in diff_trees(repo.trees, outcome.base_root, outcome.root)} - own
    if beyond:
        yield f"it changed {min(beyond)}, which it does not touch itself"
    for other in (*proof.besides, *proof.without):
        if meeting := _meeting(own, repo.touched_by(other)):
            yield f"it touches {meeting}, as {other.change_id} does"
    for group in _groups(_since(repo, proof.tested_base_seq, outcome)):
        members = [Member(each.change_id, each.version) for each in group]
        if not set(members).isdisjoint(proof.besides):
            before = repo.main_at(group[0].previous_seq)[1]
            changed = {d.path for d in diff_trees(repo.trees, before, group[-1].root)}
            if beyond := changed - _paths(repo, members):
                yield f"{members[0].change_id} changed {min(beyond)}, which it does not touch itself"


def _paths(repo: Targets, members: Sequence[Member]) -> frozenset[RepoPath]:
    return frozenset[RepoPath]().union(*(repo.touched_by(member) for member in members))


def _meeting(own: frozenset[RepoPath], others: frozenset[RepoPath]) -> RepoPath | None:
    """A path that is among both, or lies below one of the other's."""
    for one, other in ((own, others), (others, own)):
        for path in one:
            if path in other or any(above in other for above in parents(path)):
                return path
    return None


def _groups(landings: Sequence[Landing]) -> Iterator[list[Landing]]:
    """What landed in one step each."""
    group: list[Landing] = []
    for landing in landings:
        if group and (landing.attempt_id is None or landing.attempt_id != group[-1].attempt_id):
            yield group
            group = []
        group.append(landing)
    if group:
        yield group


def _composed(proof: IndependenceProof, outcome: Outcome, root_of: RootOf) -> Iterator[str]:
    """Whether the trees are what they are said to be, and all together are one in either order."""
    if root_of(proof.tested_base_seq, proof.tested_stack) != proof.tested_root:
        yield f"what was tested does not give the tree {proof.tested_root}"
    if root_of(outcome.base_seq, outcome.stack) != outcome.root:
        yield f"what landed does not give the tree {outcome.root}"
    for base_seq, stack in (
        (proof.tested_base_seq, (*proof.tested_stack, *proof.besides)),
        (outcome.base_seq, (*outcome.stack, *proof.without)),
    ):
        if root_of(base_seq, stack) != proof.either_root:
            yield "the two orders do not give the same tree"
