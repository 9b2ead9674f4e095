"""How people steer the submit queue: pause it, close the tree, say who goes first."""

from dataclasses import replace

from pwfs.model.changes import Landing
from pwfs.model.errors import InvalidArgument, TreeClosed
from pwfs.model.events import EventType
from pwfs.model.queue import Closing, Jump, QueueItem
from pwfs.repo.changes import check_agent
from pwfs.repo.queueing import Queueing

REASON_CHARS_MAX = 1_000


class Controlling(Queueing):
    """The part of a repository through which the queue is steered."""

    @property
    def queue_paused(self) -> bool:
        """Whether nothing is started or landed for now."""
        return self.log.queue_flag("paused")

    def set_queue_paused(self, paused: bool) -> None:
        """Pauses or resumes the queue; tests that run go on."""
        with self.transaction():
            self.log.set_queue_flag("paused", paused)
            self.publish(EventType.QUEUE_STATE, paused=paused)

    def set_priority(self, item_id: int, priority: int) -> QueueItem:
        """Moves an item by its priority: higher ones first, equal ones first come.

        Raises:
            NotFound: there is none of that id in the queue.
        """
        item = self._in_queue(item_id)
        with self.transaction():
            self.log.update_item(replace(item, priority=priority))
            self._publish_positions()
        return self.item(item_id)

    def jump(self, item_id: int, reason: str, *, agent: str) -> QueueItem:
        """Lets an item go before all others, with what it depends on, also while the tree is closed.

        Of several the first that jumped is first. Who did it and why is kept with the item.

        Raises:
            NotFound: there is none of that id in the queue.
            InvalidArgument: no reason is given.
        """
        item = self._in_queue(item_id)
        jump = Jump(check_agent(agent), _checked_reason(reason), self.now())
        with self.transaction():
            self.log.update_item(replace(item, jump=jump))
            self.publish(
                EventType.ITEM_JUMPED, item_id=item.id, agent_id=jump.agent_id, reason=jump.reason
            )
            self._publish_positions()
        return self.item(item_id)

    @property
    def closing(self) -> Closing | None:
        """Who closed the tree, and why; None while it is open."""
        return self.log.closing()

    def close_tree(self, reason: str, *, agent: str) -> Closing:
        """Lets nothing land but what jumps the queue; tests go on, and whoever fails leaves.

        Raises:
            InvalidArgument: no reason is given.
        """
        closing = Closing(check_agent(agent), _checked_reason(reason), self.now())
        with self.transaction():
            self.log.set_closing(closing)
            self.publish(EventType.TREE_CLOSED, agent_id=closing.agent_id, reason=closing.reason)
        return closing

    def open_tree(self, *, agent: str) -> None:
        """Ends what `close_tree` began; what passed meanwhile lands."""
        who = check_agent(agent)
        with self.transaction():
            self.log.set_closing(None)
            self.publish(EventType.TREE_OPENED, agent_id=who)

    def land(self, change_id: str, *, agent: str) -> Landing:
        """See `Landings.land`.

        Raises:
            TreeClosed: nothing lands now; submit it, and let it jump the queue.
        """
        if (closing := self.closing) is not None:
            raise TreeClosed(agent_id=closing.agent_id, reason=closing.reason)
        return super().land(change_id, agent=agent)


def _checked_reason(reason: str) -> str:
    kept = reason.strip()
    if not kept or len(kept) > REASON_CHARS_MAX:
        raise InvalidArgument(
            name="reason", reason=f"give one, of {REASON_CHARS_MAX} characters at most"
        )
    return kept
