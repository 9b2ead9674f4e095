"""The submit queue's records: what is queued, what was tried, what landed or left."""

from collections.abc import Sequence
from dataclasses import replace

from pwfs.model.changes import (
    Change,
    ChangeStatus,
    Landing,
    TestResult,
    TestStatus,
)
from pwfs.model.ejection import Ejection
from pwfs.model.errors import (
    AlreadyQueued,
    DependencyNotLanded,
    InvalidArgument,
    NotFound,
    NothingToFreeze,
    NotIndependent,
    StaleBase,
    TestCommandMissing,
    TooManyQueued,
)
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, AttemptId, BlobHash, ChangeId, ItemId, Seq
from pwfs.model.paths import RepoPath
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    EjectReason,
    ItemState,
    Member,
    QueueItem,
    TestKey,
)
from pwfs.repo.changes import check_agent
from pwfs.repo.past_tests import PastTests
from pwfs.submit.ordering import ages_of, in_queue_order, next_share

OUTPUT_KEPT_BYTES = 64 * 1024
_TEST_STATUS = {
    AttemptState.RUNNING: TestStatus.RUNNING,
    AttemptState.PASSED: TestStatus.PASSED,
    AttemptState.FAILED: TestStatus.FAILED,
    AttemptState.TIMED_OUT: TestStatus.FAILED,
    AttemptState.ERROR: TestStatus.FAILED,
    AttemptState.STOPPED: TestStatus.CANCELLED,
}
_NOT_PASSED = (AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.ERROR)


class Queueing(PastTests):
    """The part of a repository that knows the queue."""

    def submit(
        self,
        change_ids: Sequence[str],
        *,
        agent: str,
        priority: int = 0,
        message: str = "",
        resubmits: int = 0,
    ) -> QueueItem:
        """Puts changes into the queue as one item; what is not frozen yet is frozen first.

        If it leaves though it may pass as it is, it is submitted again, ``resubmits`` times.

        Raises:
            NotFound, ChangeIsFinal: a change does not exist or is final.
            AlreadyQueued: a change is in the queue.
            NothingToFreeze: a change does nothing.
            DependencyNotLanded: a dependency is neither landed nor ahead in the queue.
            TestCommandMissing: nobody said how to test.
            TooManyQueued: the agent has as many items in the queue as it may have.
        """
        changes = self.check_submission(change_ids, agent=agent)
        who = check_agent(agent)
        with self.transaction():
            members = []
            for change in changes:
                if self.has_draft(change):
                    self.create_version(change.id, message or f"Submitted by {who}", agent=who)
                frozen = self.change(change.id)
                self._move_status(frozen, ChangeStatus.TESTING)
                members.append(Member(frozen.id, frozen.current_version))
            item = self.log.insert_item(
                members,
                priority=priority,
                agent_id=who,
                entered_at=self.now(),
                resubmits=resubmits,
                share=self.next_share(who),
            )
            self._publish_positions()
        return item

    def next_share(self, who: AgentId) -> int:
        """The share of what an agent would submit now; see `pwfs.submit.ordering`."""
        if not self.config.fair_share:
            return 0
        return next_share(self.log.items(states=[ItemState.QUEUED]), who)

    def check_submission(self, change_ids: Sequence[str], *, agent: str) -> list[Change]:
        """Finds changes that `submit` would take; raises what it does, and changes nothing."""
        who = check_agent(agent)
        if not change_ids or len(set(change_ids)) != len(change_ids):
            raise InvalidArgument(name="changes", reason="name at least one change, each once")
        if not self.config.test_cmd:
            raise TestCommandMissing()
        queued = self.queued()
        limit = self.config.max_queued_per_agent
        if limit and sum(item.agent_id == who for item in queued) >= limit:
            raise TooManyQueued(agent_id=who, limit=limit)
        ahead = {m.change_id for item in queued for m in item.members}
        changes = [self.open_change(change_id) for change_id in change_ids]
        for change in changes:
            if change.status is ChangeStatus.TESTING:
                raise AlreadyQueued(change_id=change.id)
            missing = tuple(
                other
                for other in change.dependencies
                if other not in ahead and not self.is_landed(other)
            )
            if missing:
                raise DependencyNotLanded(change_id=change.id, dependencies=missing)
            if not change.current_version and not self.has_draft(change):
                raise NothingToFreeze(change_id=change.id)
            ahead.add(change.id)
        return changes

    def queued(self) -> list[QueueItem]:
        """What is in the queue, first to land first."""
        items = self.log.items(states=[ItemState.QUEUED])
        return list(in_queue_order(items, self.queued_dependencies(items), self.queued_ages(items)))

    def queued_dependencies(
        self, items: Sequence[QueueItem]
    ) -> dict[ChangeId, tuple[ChangeId, ...]]:
        """On what the changes of some items depend, of those that depend on any.

        With a rule of independence also on what these depend, and so on.
        """
        found: dict[ChangeId, tuple[ChangeId, ...]] = {}
        pending = [member.change_id for item in items for member in item.members]
        while pending:
            change_id = pending.pop()
            needed = self.change(change_id).dependencies
            if needed and change_id not in found:
                found[change_id] = needed
                pending.extend(needed if self.config.rule is not None else ())
        return found

    def queued_ages(self, items: Sequence[QueueItem]) -> dict[ItemId, int]:
        """The levels of priority that items gained by waiting; see `pwfs.submit.ordering`."""
        every = self.config.queue_ageing
        if not every or not items:
            return {}
        landed_at = self.log.landed_times(min(item.entered_at for item in items))
        return ages_of(items, landed_at, every)

    def item(self, item_id: int) -> QueueItem:
        """Finds an item, queued or not.

        Raises:
            NotFound: there is none of that id.
        """
        item = self.log.item(ItemId(item_id))
        if item is None:
            raise NotFound(kind="queue item", id=str(item_id))
        return item

    def attempts(self, item_id: int) -> list[Attempt]:
        """An item's attempts, oldest first, the controls among them."""
        return self.log.attempts(ItemId(item_id))

    def own_attempts(self, item_id: int) -> list[Attempt]:
        """The tests of an item itself, oldest first; not those of main because of it."""
        return [attempt for attempt in self.attempts(item_id) if not attempt.is_control]

    def _in_queue(self, item_id: int) -> QueueItem:
        item = self.item(item_id)
        if item.state is not ItemState.QUEUED:
            raise NotFound(kind="queued item", id=str(item_id))
        return item

    def _leave(
        self,
        item: QueueItem,
        state: ItemState,
        *,
        reason: EjectReason | None = None,
        detail: str = "",
        ejection: Ejection | None = None,
    ) -> QueueItem:
        left = replace(
            item,
            state=state,
            finished_at=self.now(),
            reason=reason,
            detail=detail,
            ejection=ejection,
        )
        self.log.update_item(left)
        self._publish_positions()
        return left

    def _publish_positions(self) -> None:
        told, now = self._told_positions or {}, dict[Member, int]()
        self._told_positions = now
        self.if_refused(self._forget_positions)
        for position, item in enumerate(self.queued()):
            for member in item.members:
                now[member] = position
                if told.get(member) != position:
                    self.publish(
                        EventType.QUEUE_POSITION,
                        change_id=member.change_id,
                        version=member.version,
                        item_id=item.id,
                        position=position,
                    )

    def _forget_positions(self) -> None:
        self._told_positions = None

    _told_positions: dict[Member, int] | None = None

    # What the runner records, each step before it is announced

    def start_attempt(
        self, item: QueueItem, base_seq: Seq, stack: Sequence[Member], key: TestKey
    ) -> Attempt:
        """Records that a test begins, of an item, or with no stack of main itself because of one.

        Raises:
            NotFound: the item is not in the queue any more.
        """
        self._in_queue(item.id)
        with self.transaction():
            attempt = self.log.insert_attempt(
                item.id, base_seq=base_seq, stack=stack, key=key, started_at=self.now()
            )
            self.publish(
                EventType.TEST_STARTED,
                item_id=item.id,
                attempt_id=attempt.id,
                stack=[[member.change_id, member.version] for member in stack],
                root=key.root,
            )
            if not attempt.is_control:
                self._note_result(item, attempt, "")
        return attempt

    def finish_attempt(
        self,
        attempt_id: int,
        state: AttemptState,
        exit_code: int | None = None,
        output_hash: BlobHash | None = None,
        detail: str = "",
    ) -> Attempt:
        """Records a test's outcome; one that is recorded already stays as it is.

        Raises:
            NotFound: there is no such attempt.
        """
        attempt = self.attempt(attempt_id)
        if attempt.state is not AttemptState.RUNNING:
            return attempt
        finished = replace(
            attempt,
            state=state,
            ended_at=self.now(),
            exit_code=exit_code,
            output_hash=output_hash,
            detail=detail,
        )
        with self.transaction():
            self.log.update_attempt(finished)
            item = self.item(attempt.item_id)
            is_retry = state in _NOT_PASSED and not attempt.is_control
            if is_retry and item.state is ItemState.QUEUED:
                self.log.update_item(replace(item, retries=item.retries + 1))
            if attempt.is_control:
                self._announce_main(finished)
            else:
                self._announce_result(finished)
        return finished

    def reuse_attempt(
        self,
        item: QueueItem,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        source_attempt_id: int,
        independent_of: Sequence[ChangeId] = (),
    ) -> Attempt:
        """Records that the same tree passed before under the same key.

        With ``independent_of`` it was another tree of the item, which differs in these changes only.

        Raises:
            NotIndependent: that does not speak for the item on main as it is.
        """
        source = self.attempt(source_attempt_id)
        assert source.state is AttemptState.PASSED
        detail = f"the same tree passed in attempt {source.id}"
        with self.transaction():
            if independent_of:
                self._check_independent(item, source, base_seq, stack, key, independent_of)
                detail = f"attempt {source.id} passed, and {_names(independent_of)} is independent"
            else:
                assert source.key == key and source.rests_on is None
            attempt = self.start_attempt(item, base_seq, stack, key)
            finished = replace(
                attempt,
                state=AttemptState.PASSED,
                ended_at=attempt.started_at,
                exit_code=0,
                output_hash=source.output_hash,
                detail=detail,
                rests_on=source.id if independent_of else None,
            )
            self.log.update_attempt(finished)
            self._announce_result(finished)
        return finished

    def _check_independent(
        self,
        item: QueueItem,
        source: Attempt,
        base_seq: Seq,
        stack: Sequence[Member],
        key: TestKey,
        independent_of: Sequence[ChangeId],
    ) -> None:
        proof = self.prove(item, source, base_seq, stack, key)
        if {m.change_id for m in (*proof.besides, *proof.without)} != set(independent_of):
            raise NotIndependent(item.id, "the two trees differ in other changes than was thought")

    def attempt(self, attempt_id: int) -> Attempt:
        """Finds an attempt.

        Raises:
            NotFound: there is none of that id.
        """
        attempt = self.log.attempt(AttemptId(attempt_id))
        if attempt is None:
            raise NotFound(kind="attempt", id=str(attempt_id))
        return attempt

    def recover_attempts(self) -> None:
        """Closes the attempts of a daemon that died: they are started again."""
        for attempt in self.log.attempts(states=[AttemptState.RUNNING]):
            self.finish_attempt(attempt.id, AttemptState.STOPPED, detail="the daemon ended")

    def land_item(
        self, item_id: int, attempt_id: int, with_ids: Sequence[int] = ()
    ) -> list[Landing]:
        """Lands an item exactly as it was tested: main becomes that tree in one step.

        The items ``with_ids`` were tested with it, before it in that order, and land with it. Each
        member gets a landing of its own, all with the tested tree: main never is a part of them.

        Raises:
            NotFound: an item is not in the queue any more.
            StaleBase: main is not what the attempt was tested on.
            NotIndependent: what the attempt rests on does not speak for this tree any more.
        """
        items = [self._in_queue(each) for each in (*with_ids, item_id)]
        attempt = self.attempt(attempt_id)
        assert attempt.item_id == item_id and attempt.state is AttemptState.PASSED
        members = tuple(member for item in items for member in item.members)
        assert attempt.stack[-len(members) :] == members
        head, head_root = self.main()
        ahead = attempt.stack[: -len(members)]
        if self.candidate(attempt.base_seq, ahead).root != head_root:
            raise StaleBase(expected_seq=attempt.base_seq, found_seq=head)
        whole = self.candidate(attempt.base_seq, attempt.stack).root
        assert whole == attempt.key.root, "what lands is what was tested"
        seqs: dict[RepoPath, Seq] = {}
        for member in members:
            edits = self.edits(self.change(member.change_id), member.version).edits
            seqs.update((path, edit.seq) for path, edit in edits.items())
        with self.transaction():
            self._certify(attempt, members)
            landed = [
                self._land(
                    self.change(member.change_id),
                    member.version,
                    attempt.key.root,
                    item.agent_id,
                    seqs=seqs,
                    attempt_id=attempt.id,
                )
                for item in items
                for member in item.members
            ]
            for item in items:
                self._leave(item, ItemState.LANDED)
        return landed

    def _announce_result(self, attempt: Attempt) -> None:
        item = self.item(attempt.item_id)
        output = self.output_tail(attempt)
        for member in item.members:
            self.publish(
                EventType.TEST_RESULT,
                change_id=member.change_id,
                version=member.version,
                status=_TEST_STATUS[attempt.state].value,
                output=output,
                attempt_id=attempt.id,
                item_id=item.id,
                exit_code=attempt.exit_code,
                detail=attempt.detail,
            )
        self._note_result(item, attempt, output)

    def _announce_main(self, control: Attempt) -> None:
        self.publish(
            EventType.MAIN_TESTED,
            seq=control.base_seq,
            root=control.key.root,
            status=_TEST_STATUS[control.state].value,
            output=self.output_tail(control),
            attempt_id=control.id,
            item_id=control.item_id,
            exit_code=control.exit_code,
            detail=control.detail,
        )

    def _note_result(self, item: QueueItem, attempt: Attempt, output: str) -> None:
        result = TestResult(
            status=_TEST_STATUS[attempt.state],
            output=output,
            start_at=attempt.started_at,
            end_at=attempt.ended_at,
        )
        for member in item.members:
            self.log.set_test_result(member.change_id, member.version, result)
            self.changed(member.change_id)

    def output_tail(self, attempt: Attempt) -> str:
        """The end of what a test printed, at most 64 KiB."""
        if attempt.output_hash is None:
            return attempt.detail
        return self.blobs.get(attempt.output_hash)[-OUTPUT_KEPT_BYTES:].decode("utf-8", "replace")


def _names(change_ids: Sequence[ChangeId]) -> str:
    """Names a few of some changes."""
    shown = ", ".join(change_ids[:3])
    return shown if len(change_ids) <= 3 else f"{shown} and {len(change_ids) - 3} more"
