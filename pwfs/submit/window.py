"""`linear` and `window`: each item is tested as if all before it land that have not failed.

That is Zuul's nearest non-failing item: a failing item leaves the assumption of those behind it at
once, though it leaves the queue only when everything that its failure rests on has come true.
"""

from pwfs.model.ids import ItemId
from pwfs.submit.line import Line, Wish


def wish_linear(line: Line) -> list[Wish]:
    """One test at a time."""
    return _wish(line, 1)


def wish_window(line: Line) -> list[Wish]:
    """As many as the window is wide at the moment, and may run at once."""
    return _wish(line, min(line.width, line.history.window))


def _wish(line: Line, width: int) -> list[Wish]:
    """Walks the line; what passed and did not land yet keeps its place in the window."""
    wishes: list[Wish] = []
    hopeful: set[ItemId] = set()
    for entry in line.entries:
        if len(wishes) >= width:
            break
        if not entry.needs <= hopeful:
            continue
        scenario = frozenset(hopeful.intersection(entry.ahead))
        trial = entry.trial(scenario)
        if trial is not None and trial.verdict.is_bad:
            continue
        hopeful.add(entry.id)
        wishes.append(Wish(entry.id, scenario))
    return wishes
