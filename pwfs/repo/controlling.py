"""How people steer the submit queue: pause it, close the tree, say who goes first or leaves."""

from dataclasses import replace

from pwfs.model.changes import Change, ChangeStatus, Landing, Version, check_transition
from pwfs.model.errors import IllegalTransition, InvalidArgument, TreeClosed
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, ChangeId
from pwfs.model.queue import Closing, ItemState, Jump, QueueItem
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

    # Who takes an item out again

    def cancel(self, item_id: int, *, agent: str) -> QueueItem:
        """Takes an item out of the queue; its changes are drafts again.

        Raises:
            NotFound: there is none of that id in the queue.
        """
        item = self._in_queue(item_id)
        return self._cancelled(item, check_agent(agent), "")

    def _cancelled(
        self, item: QueueItem, agent: AgentId, detail: str, *, but: ChangeId | None = None
    ) -> QueueItem:
        """Takes an item out; all its changes are drafts again, ``but`` one."""
        with self.transaction():
            cancelled = self._leave(item, ItemState.CANCELLED, detail=detail)
            for member in item.members:
                change = self.change(member.change_id)
                if change.status is ChangeStatus.TESTING and change.id != but:
                    self._move_status(change, ChangeStatus.DRAFT, reason=detail or "cancelled")
            self.publish(EventType.ITEM_CANCELLED, item_id=item.id, agent_id=agent, detail=detail)
        return cancelled

    def create_version(self, change_id: str, message: str, *, agent: str) -> Version:
        """See `Changes.create_version`; an item with an earlier version leaves the queue."""
        with self.transaction():
            version = super().create_version(change_id, message, agent=agent)
            for item in self.queued():
                if any(member.change_id == change_id for member in item.members):
                    detail = f"version {version.number} of {change_id} was made"
                    self._cancelled(item, check_agent(agent), detail)
        return version

    def set_status(self, change_id: str, status: ChangeStatus) -> Change:
        """Moves a change along its life cycle as its author may: ready, or abandoned.

        Abandoning takes it out of the queue.

        Raises:
            NotFound: there is no such change.
            IllegalTransition: the life cycle has no such step.
            InvalidArgument: testing is entered by `submit`, landed by landing.
        """
        change = self.change(change_id)
        check_transition(change.id, change.status, status)
        if status in (ChangeStatus.TESTING, ChangeStatus.LANDED):
            how = "submit it" if status is ChangeStatus.TESTING else "submit or land it"
            raise InvalidArgument(name="status", reason=f"to become {status}, {how}")
        with self.transaction():
            for item in self.queued():
                if any(member.change_id == change.id for member in item.members):
                    if status is ChangeStatus.DRAFT:
                        raise IllegalTransition(
                            change_id=change.id, before=change.status, after=status
                        )
                    detail = f"{change.id} was abandoned"
                    self._cancelled(item, change.author, detail, but=change.id)
            self._move_status(self.change(change_id), status)
            if status is ChangeStatus.ABANDONED:
                self._close([w for w in self.log.workspaces() if w.change_id == change.id])
        return self.change(change_id)


def _checked_reason(reason: str) -> str:
    kept = reason.strip()
    if not kept or len(kept) > REASON_CHARS_MAX:
        raise InvalidArgument(
            name="reason", reason=f"give one, of {REASON_CHARS_MAX} characters at most"
        )
    return kept
