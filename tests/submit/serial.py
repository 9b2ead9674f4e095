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

    def decide_one(self, batches: Sequence[Sequence[int]] = ()) -> None:
        """Decides the first item, or what it depends on if that waits as well.

        ``batches`` are numbers that landed as one tree, in their order: nothing in between was ever
        main, so that a later one may mend what an earlier one breaks. They land if the whole does.
        """
        _, number, changes = self.waiting[0]
        while needed := self._queued_needs(number, changes):
            _, number, changes = needed[0]
        for batch in batches:
            if len(batch) > 1 and batch[0] == number:
                self._land_together(batch)
                return
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

    def _land_together(self, batch: Sequence[int]) -> None:
        changes_of = {number: changes for _, number, changes in self.waiting}
        tree: Tree | str = self.main
        for number in batch:
            for change in changes_of[number]:
                assert isinstance(tree, tuple), "what landed merges"
                tree = lay(tree, self.edits[change])
        assert isinstance(tree, tuple) and self.is_green(tree), "what landed is green"
        self.main = tree
        for number in batch:
            self.landed.update(changes_of[number])
        for number in batch:
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
