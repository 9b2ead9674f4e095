"""Which queued items a declared rule calls independent: they do not wait for each other.

Soundness first: without targets for each of its changes an item may disagree with every other, and
with what it depends on, directly or not, it always does.
"""

from collections.abc import Mapping

from pwfs.model.ids import ChangeId
from pwfs.model.paths import RepoPath, parents
from pwfs.model.queue import QueueItem


class Independence:
    """Answers for the targets and dependencies of one snapshot."""

    def __init__(
        self,
        targets: Mapping[ChangeId, frozenset[str]],
        dependencies: Mapping[ChangeId, tuple[ChangeId, ...]],
    ) -> None:
        self._targets = targets
        self._dependencies = dependencies
        self._needed: dict[ChangeId, frozenset[ChangeId]] = {}

    def is_declared(self) -> bool:
        """Whether there is any rule."""
        return bool(self._targets)

    def targets(self, item: QueueItem) -> frozenset[str] | None:
        """What an item concerns; None if that is not known of each of its changes."""
        found = [self._targets.get(member.change_id) for member in item.members]
        known = [targets for targets in found if targets is not None]
        return frozenset().union(*known) if len(known) == len(found) else None

    def of_change(self, item: QueueItem, change_id: ChangeId) -> bool:
        """Whether an item is independent of a change."""
        own, other = self.targets(item), self._targets.get(change_id)
        if own is None or other is None or own & other:
            return False
        return not any(
            change_id in self.needed(member.change_id) or member.change_id in self.needed(change_id)
            for member in item.members
        )

    def needed(self, change_id: ChangeId) -> frozenset[ChangeId]:
        """What a change depends on, directly or through others."""
        if change_id not in self._needed:
            found: set[ChangeId] = set()
            pending = list(self._dependencies.get(change_id, ()))
            while pending:
                other = pending.pop()
                if other not in found:
                    found.add(other)
                    pending.extend(self._dependencies.get(other, ()))
            self._needed[change_id] = frozenset(found)
        return self._needed[change_id]


class Concerning:
    """The items so far that are not independent of a next one, found by what they share."""

    def __init__(self, independence: Independence) -> None:
        self._independence = independence
        self._items: list[QueueItem] = []
        self._by_target: dict[str, list[int]] = {}
        self._of_unknown: list[int] = []
        self._of_change: dict[ChangeId, int] = {}

    def append(self, item: QueueItem) -> None:
        """Adds an item behind all others."""
        position = len(self._items)
        self._items.append(item)
        for member in item.members:
            self._of_change[member.change_id] = position
        targets = self._independence.targets(item)
        if targets is None:
            self._of_unknown.append(position)
        for target in targets or ():
            self._by_target.setdefault(target, []).append(position)

    def ahead(self, item: QueueItem) -> list[QueueItem]:
        """Those that concern an item, in order."""
        targets = self._independence.targets(item)
        if targets is None:
            return list(self._items)
        found = set(self._of_unknown)
        for target in targets:
            found.update(self._by_target.get(target, ()))
        needed = {c for m in item.members for c in self._independence.needed(m.change_id)}
        found.update(self._of_change[change] for change in needed if change in self._of_change)
        return [self._items[position] for position in sorted(found)]


def with_shared_paths(
    targets: Mapping[ChangeId, frozenset[str]], paths: Mapping[ChangeId, frozenset[RepoPath]]
) -> dict[ChangeId, frozenset[str]]:
    """Adds to what a rule tells of changes each path that one of them touches and another does too.

    Whoever touches a path below it shares it as well: a file there leaves no room for a directory.
    So changes that a rule calls independent touch different files, and their order does not matter.
    Of a change without targets nothing is said.
    """
    sharing: dict[RepoPath, set[ChangeId]] = {}
    for change_id in targets:
        for path in paths[change_id]:
            sharing.setdefault(path, set()).add(change_id)
    below: dict[RepoPath, set[ChangeId]] = {}
    for change_id in targets:
        for above in {above for path in paths[change_id] for above in parents(path)}:
            if above in sharing:
                below.setdefault(above, set()).add(change_id)
    found = {change_id: set(known) for change_id, known in targets.items()}
    for path, touching in sharing.items():
        together = touching | below.get(path, set())
        for change_id in together if len(together) > 1 else ():
            found[change_id].add(f"/{path}")
    return {change_id: frozenset(known) for change_id, known in found.items()}
