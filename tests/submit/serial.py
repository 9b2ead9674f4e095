"""The queue as it would be with one test at a time and nothing clever: what must come out.

`SerialQueue` decides one item after the other. Everything the real queue does besides (testing
ahead, reusing, stopping, crashing) must make no difference to what lands and what does not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pwfs.model.ids import ChangeId
from tests.submit.trees import Edit, Tree, lay


@dataclass
class SerialQueue:
    """``waiting`` holds (priority, number, changes); ``fates`` what became of each number."""

    edits: Mapping[ChangeId, Sequence[Edit]]
    needs: Mapping[ChangeId, Sequence[ChangeId]]
    is_green: Callable[[Tree], bool]
    main: Tree = ()
    landed: set[ChangeId] = field(default_factory=set)
    waiting: list[tuple[int, int, tuple[ChangeId, ...]]] = field(default_factory=list)
    fates: dict[int, str] = field(default_factory=dict)

    def submit(self, number: int, priority: int, changes: tuple[ChangeId, ...]) -> None:
        self.waiting.append((priority, number, changes))
        self.waiting.sort(key=lambda item: (-item[0], item[1]))

    def cancel(self, number: int) -> None:
        self._leave(number, "cancelled")

    def decide_one(self) -> None:
        """Decides the first item, or what it depends on if that waits as well."""
        _, number, changes = self.waiting[0]
        while needed := self._queued_needs(number, changes):
            _, number, changes = needed[0]
        tree: Tree | str = self.main
        for change in changes:
            tree = lay(tree, self.edits[change]) if isinstance(tree, tuple) else tree
        if isinstance(tree, str):
            self._leave(number, "conflict")
        elif not self.is_green(tree):
            self._leave(number, "test_failed")
        else:
            self.main = tree
            self.landed.update(changes)
            self._leave(number, "landed")

    def _queued_needs(
        self, number: int, changes: tuple[ChangeId, ...]
    ) -> list[tuple[int, int, tuple[ChangeId, ...]]]:
        needs = {need for change in changes for need in self.needs.get(change, ())}
        return [item for item in self.waiting if item[1] != number and needs & set(item[2])]

    def _leave(self, number: int, fate: str) -> None:
        self.fates[number] = fate
        self.waiting = [item for item in self.waiting if item[1] != number]
        queued = {change for _, _, changes in self.waiting for change in changes}
        for _, other, changes in list(self.waiting):
            needs = {need for change in changes for need in self.needs.get(change, ())}
            if other not in self.fates and needs - self.landed - queued:
                self._leave(other, "dependency")
