"""What every `LogStore` promises of the records beside the operations."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import pytest

from pwfs.model.changes import ChangeStatus, TestResult, TestStatus
from pwfs.model.ejection import Cause, Dispute, Ejection, Region, Remedy
from pwfs.model.errors import AlreadyExists, NotFound
from pwfs.model.ids import (
    AgentId,
    AttemptId,
    ChangeId,
    ItemId,
    Seq,
    TreeHash,
    ViewId,
    WorkspaceId,
)
from pwfs.model.paths import RepoPath
from pwfs.model.queue import (
    Attempt,
    AttemptState,
    Certificate,
    Closing,
    EjectReason,
    ItemState,
    Jump,
    Member,
    QueueItem,
    StoredCertificate,
    TestKey,
)
from pwfs.model.views import BaseType, ConflictPolicy, ConflictType, Overlay, View, ViewBase
from pwfs.store.protocols import LogStore
from tests.store.samples import (
    AGENT,
    CHANGE,
    NOW,
    OTHER,
    TREE,
    blob_hash,
    change,
    later,
    path,
    version,
    workspace,
)

OpenLog = Callable[[], LogStore]

WS = WorkspaceId("ws-add-auth")
VIEW = View(
    id=ViewId("view-1"),
    owner=AGENT,
    base=ViewBase(BaseType.MAIN_AT_SEQ, Seq(12)),
    overlays=(Overlay(CHANGE, 3, pin=True), Overlay(OTHER)),
    conflict_policy=ConflictPolicy.LAST_WRITE,
    created_at=NOW,
)
KEY = TestKey(TREE, "make test", "e" * 64)


class ChangeConformance:
    def test_a_change_comes_back_whole(self, log: LogStore) -> None:
        """With versions, dependencies and whatever JSON the users put in its metadata."""
        result = TestResult(TestStatus.PASSED, "ok ü\n", NOW, later(1.5))
        given = change(
            versions=(version(1, (1, 2, 3, 9, 8)), replace(version(2), test_result=result)),
            dependencies=(OTHER, ChangeId("third")),
            metadata={"labels": ["x", 1, 2.5, None, True], "ü": {"nested": {}}},
        )
        log.insert_change(given)
        assert log.change(CHANGE) == given
        assert log.changes() == [given]
        assert log.change(OTHER) is None

    def test_a_taken_id_is_refused(self, log: LogStore) -> None:
        """And the change that has it stays as it is."""
        log.insert_change(change())
        with pytest.raises(AlreadyExists):
            log.insert_change(change(status=ChangeStatus.READY, versions=(version(1),)))
        assert log.changes() == [change()]

    def test_changes_are_listed_by_status_and_page(self, log: LogStore) -> None:
        """Oldest first, whatever their names."""
        draft, ready, landed = (
            change("z", status=ChangeStatus.DRAFT, versions=(version(1, (4,)),)),
            change("m", status=ChangeStatus.READY),
            change("a", status=ChangeStatus.LANDED, versions=(version(1), version(2, (1, 2)))),
        )
        for given in (draft, ready, landed):
            log.insert_change(given)
        assert log.changes() == [draft, ready, landed]
        assert log.changes(status=ChangeStatus.READY) == [ready]
        assert log.changes(status=[ChangeStatus.DRAFT, ChangeStatus.LANDED]) == [draft, landed]
        assert log.changes(status=[]) == []
        assert log.changes(limit=2) == [draft, ready]
        assert log.changes(after=draft.id, limit=1) == [ready]
        assert log.changes(after=draft.id, status=ChangeStatus.LANDED) == [landed]
        assert log.changes(after=landed.id) == []
        with pytest.raises(NotFound):
            log.changes(after=ChangeId("nobody"))

    def test_ids_are_found_by_how_they_begin(self, log: LogStore) -> None:
        """The prefix itself included, wildcards taken as they are."""
        for change_id in ("fix", "fix-2", "fix-10", "fiy", "fi"):
            log.insert_change(change(change_id))
        assert log.change_ids_like("fix") == {"fix", "fix-2", "fix-10"}
        assert log.change_ids_like("fix-") == {"fix-2", "fix-10"}
        assert log.change_ids_like("%") == set()

    def test_only_the_given_fields_are_updated(self, log: LogStore) -> None:
        """The rest stays; what is emptied is empty."""
        given = change(metadata={"a": 1}, dependencies=(OTHER,), versions=(version(1),))
        log.insert_change(given)
        log.update_change(CHANGE, status=ChangeStatus.TESTING, updated_at=later(1))
        expected = replace(given, status=ChangeStatus.TESTING, updated_at=later(1))
        assert log.change(CHANGE) == expected
        log.update_change(
            CHANGE, metadata={}, dependencies=(), current_version=7, updated_at=later(2)
        )
        assert log.change(CHANGE) == replace(
            expected, metadata={}, dependencies=(), current_version=7, updated_at=later(2)
        )
        with pytest.raises(NotFound):
            log.update_change(OTHER, status=ChangeStatus.READY, updated_at=NOW)

    def test_versions_are_added_once(self, log: LogStore) -> None:
        """To a change that exists, under a number that is free."""
        log.insert_change(change())
        log.insert_version(CHANGE, version(1, (1,)))
        log.insert_version(CHANGE, version(2, tuple(range(1, 2000))))
        with pytest.raises(AlreadyExists):
            log.insert_version(CHANGE, version(2))
        with pytest.raises(NotFound):
            log.insert_version(OTHER, version(1))
        found = log.change(CHANGE)
        assert found is not None
        assert found.versions == (version(1, (1,)), version(2, tuple(range(1, 2000))))

    def test_a_versions_test_result_is_replaced(self, log: LogStore) -> None:
        """Each time, and of that version only."""
        log.insert_change(change(versions=(version(1), version(2))))
        for status in (TestStatus.RUNNING, TestStatus.FAILED):
            result = TestResult(status, "…", NOW, None)
            log.set_test_result(CHANGE, 2, result)
            found = log.change(CHANGE)
            assert found is not None
            assert [v.test_result for v in found.versions] == [None, result]
        with pytest.raises(NotFound):
            log.set_test_result(CHANGE, 3, TestResult(TestStatus.PASSED, "", NOW, None))


class TreeConformance:
    def test_trees_are_found_by_hash(self, log: LogStore) -> None:
        """Those stored, once each, however often they are put."""
        trees = {TreeHash(f"{number:064x}"): b"\x00%d" % number for number in range(2500)}
        log.put_trees(trees)
        log.put_trees({TreeHash("0" * 64): b"\x000"})
        log.put_trees({})
        assert log.tree(TreeHash(f"{7:064x}")) == b"\x007"
        assert log.tree(TREE) is None
        assert sorted(log.tree_hashes()) == sorted(trees)

    def test_merge_results_are_kept_by_all_three_contents(self, log: LogStore) -> None:
        """No base is a base of its own; the newest result counts."""
        base, theirs, yours = blob_hash(1), blob_hash(2), blob_hash(3)
        log.put_merge_result(base, theirs, yours, b"one")
        log.put_merge_result(None, theirs, yours, b"two")
        log.put_merge_result(base, yours, theirs, b"")
        assert log.merge_result(base, theirs, yours) == b"one"
        assert log.merge_result(None, theirs, yours) == b"two"
        assert log.merge_result(base, yours, theirs) == b""
        assert log.merge_result(None, yours, theirs) is None
        log.put_merge_result(base, theirs, yours, b"three")
        assert log.merge_result(base, theirs, yours) == b"three"


class ViewConformance:
    def test_views_come_and_go(self, log: LogStore) -> None:
        """Whole, oldest first, by owner."""
        other = replace(VIEW, id=ViewId("a"), owner=AgentId("b"), overlays=())
        log.insert_view(VIEW)
        log.insert_view(other)
        assert log.view(VIEW.id) == VIEW
        assert log.views() == [VIEW, other]
        assert log.views(AgentId("b")) == [other]
        with pytest.raises(AlreadyExists):
            log.insert_view(VIEW)
        moved = replace(VIEW, base=ViewBase(BaseType.MAIN_AT_LATEST), overlays=(Overlay(OTHER),))
        log.update_view(moved)
        assert log.views() == [moved, other]
        log.delete_view(VIEW.id)
        assert log.view(VIEW.id) is None
        assert log.views() == [other]
        with pytest.raises(NotFound):
            log.delete_view(VIEW.id)
        with pytest.raises(NotFound):
            log.update_view(VIEW)


class WorkspaceConformance:
    def test_workspaces_come_and_go(self, log: LogStore) -> None:
        """Whole, oldest first; throw-away ones too."""
        mine = replace(
            workspace(WS), view_id=ViewId("v"), directory="/home/me/work", last_scan_seq=Seq(9)
        )
        test = replace(workspace("test-1", None), read_only=True, test_root=TREE)
        log.insert_workspace(mine)
        log.insert_workspace(test)
        assert log.workspace(WS) == mine
        assert log.workspaces() == [mine, test]
        with pytest.raises(AlreadyExists):
            log.insert_workspace(mine)
        moved = replace(mine, change_id=OTHER, read_only=True)
        log.update_workspace(moved)
        assert log.workspaces() == [moved, test]
        log.delete_workspace(WS)
        assert log.workspaces() == [test]
        assert log.workspace(WS) is None
        with pytest.raises(NotFound):
            log.delete_workspace(WS)
        with pytest.raises(NotFound):
            log.update_workspace(mine)

    def test_a_workspace_takes_what_is_its_own_with_it(self, log: LogStore) -> None:
        """Its attributes go, those of others stay."""
        other = WorkspaceId("other")
        for workspace_id in (WS, other):
            log.insert_workspace(workspace(workspace_id))
            log.put_attr(workspace_id, path("a"), b"1")
        log.delete_workspace(WS)
        assert log.attr_rows(WS) == {}
        assert log.attr_rows(other) == {"a": b"1"}

    def test_attributes_are_kept_per_workspace_and_path(self, log: LogStore) -> None:
        """The last put counts; removing what is not there is fine."""
        log.put_attr(WS, path("a"), b"1")
        log.put_attr(WS, path("a"), b"2")
        log.put_attrs(WS, {path("b"): b"3", path("c"): b""})
        log.put_attrs(WS, {})
        log.put_attr(WorkspaceId("other"), path("a"), b"4")
        assert log.attr_rows(WS) == {"a": b"2", "b": b"3", "c": b""}
        log.delete_attr(WS, path("a"))
        log.delete_attr(WS, path("a"))
        assert log.attr_rows(WS) == {"b": b"3", "c": b""}
        assert log.attr_rows(WorkspaceId("other")) == {"a": b"4"}

    def test_attributes_move_with_a_directory(self, log: LogStore) -> None:
        """All below it move, what only looks like it stays, and the target makes room."""
        rows = {
            path(name): name.encode()
            for name in ("dü", "dü/a", "dü/b/c", "dü-2", "dü0", "dü.x", "new/old", "new", "newer")
        }
        log.put_attrs(WS, rows)
        log.put_attr(WorkspaceId("other"), path("dü/a"), b"")
        log.move_attrs(WS, path("dü"), path("new"))
        assert log.attr_rows(WS) == {
            "new": "dü".encode(),
            "new/a": "dü/a".encode(),
            "new/b/c": "dü/b/c".encode(),
            "dü-2": "dü-2".encode(),
            "dü0": "dü0".encode(),
            "dü.x": "dü.x".encode(),
            "newer": b"newer",
        }
        assert log.attr_rows(WorkspaceId("other")) == {"dü/a": b""}
        before = log.attr_rows(WS)
        log.move_attrs(WS, path("new"), path("new"))
        log.move_attrs(WS, path("absent"), path("nowhere"))
        assert log.attr_rows(WS) == before


class QueueConformance:
    def test_items_are_numbered_and_listed(self, log: LogStore) -> None:
        """By their numbers; in which order they land is not the store's to say."""
        low, high, last = (
            log.insert_item([Member(CHANGE, n)], priority=p, agent_id=AGENT, entered_at=later(n))
            for n, p in ((1, 0), (2, 5), (3, 0))
        )
        assert [low.id, high.id, last.id] == [1, 2, 3]
        assert low == QueueItem(
            ItemId(1), (Member(CHANGE, 1),), ItemState.QUEUED, 0, AGENT, later(1)
        )
        assert log.items() == [low, high, last]
        assert log.item(high.id) == high
        assert log.item(ItemId(9)) is None

    def test_the_times_of_landings_are_kept(self, log: LogStore) -> None:
        """Of those after a moment, ascending; who left otherwise is not among them."""
        states = [ItemState.LANDED, ItemState.EJECTED, ItemState.LANDED, ItemState.LANDED]
        for number, state in enumerate(states):
            item = log.insert_item(
                [Member(CHANGE, 1)], priority=0, agent_id=AGENT, entered_at=NOW, share=number
            )
            assert item.share == number
            log.update_item(replace(item, state=state, finished_at=later(4 - number)))
        assert log.landed_times(later(1)) == [later(2), later(4)]

    def test_the_tree_is_closed_and_opened(self, log: LogStore) -> None:
        """Who did it and why is there until it is opened; other switches stay as they are."""
        assert log.closing() is None
        closing = Closing(AGENT, "red \u2260 green", NOW)
        log.set_closing(closing)
        assert log.closing() == closing
        assert not log.queue_flag("paused")
        log.set_closing(None)
        assert log.closing() is None

    def test_an_item_is_replaced_whole(self, log: LogStore) -> None:
        """Every field of it; lists by state follow."""
        members = [Member(CHANGE, 1), Member(OTHER, 2)]
        item = log.insert_item(members, priority=1, agent_id=AGENT, entered_at=NOW)
        ejected = replace(
            item,
            members=(Member(OTHER, 3),),
            state=ItemState.EJECTED,
            priority=-3,
            agent_id=AgentId("x"),
            entered_at=later(1),
            finished_at=later(2),
            retries=2,
            reason=EjectReason.TIMEOUT,
            detail="too slow",
            resubmits=4,
            ejection=Ejection(
                Cause.CONFLICT,
                Remedy.EDIT,
                merges=False,
                with_changes=(OTHER,),
                disputes=(
                    Dispute(
                        RepoPath("a"), ConflictType.CONTENT, CHANGE, OTHER, (Region(1, 2, 3, 4),)
                    ),
                ),
                attempt_id=AttemptId(3),
                view_id="attempt-3",
                resubmitted_as=ItemId(9),
            ),
            share=5,
            jump=Jump(AgentId("other"), "urgent", later(3)),
        )
        assert all(
            getattr(item, field.name) != getattr(ejected, field.name)
            for field in dataclasses.fields(item)
            if field.name != "id"
        )
        log.update_item(ejected)
        assert log.items() == [ejected]
        assert log.items({ItemState.QUEUED}) == []
        assert log.items({ItemState.EJECTED, ItemState.QUEUED}) == [ejected]
        with pytest.raises(NotFound):
            log.update_item(replace(item, id=ItemId(9)))

    def test_attempts_are_numbered_and_replaced(self, log: LogStore) -> None:
        """Oldest first, by item and by state."""
        stack = [Member(CHANGE, 1), Member(OTHER, 2)]
        first = log.insert_attempt(ItemId(1), base_seq=Seq(4), stack=stack, key=KEY, started_at=NOW)
        second = log.insert_attempt(ItemId(2), base_seq=Seq(4), stack=[], key=KEY, started_at=NOW)
        assert first == Attempt(
            AttemptId(1), ItemId(1), Seq(4), tuple(stack), KEY, AttemptState.RUNNING, NOW
        )
        failed = replace(
            first,
            state=AttemptState.FAILED,
            ended_at=later(3),
            exit_code=2,
            output_hash=blob_hash(1),
            detail="2 tests failed",
        )
        log.update_attempt(failed)
        assert log.attempt(first.id) == failed
        assert log.attempt(AttemptId(9)) is None
        assert log.attempts() == [failed, second]
        assert log.attempts(ItemId(2)) == [second]
        assert log.attempts(states=[AttemptState.RUNNING]) == [second]
        assert log.attempts(ItemId(1), states=[AttemptState.RUNNING]) == []
        with pytest.raises(NotFound):
            log.update_attempt(replace(first, id=AttemptId(9)))

    def test_a_tree_that_passed_is_found_again(self, log: LogStore) -> None:
        """Only if it passed, and under exactly this key; the newest time."""
        for state in (AttemptState.PASSED, AttemptState.PASSED, AttemptState.FAILED):
            attempt = log.insert_attempt(
                ItemId(1), base_seq=Seq(4), stack=[], key=KEY, started_at=NOW
            )
            log.update_attempt(replace(attempt, state=state))
        found = log.passed_attempt(KEY)
        assert found is not None
        assert found.id == 2
        for other in (
            replace(KEY, root=TreeHash("8" * 64)),
            replace(KEY, command="true"),
            replace(KEY, environment_hash=""),
        ):
            assert log.passed_attempt(other) is None
            assert log.controls(other) == []

    def test_tests_of_main_itself_are_found(self, log: LogStore) -> None:
        """Those with an empty stack, under exactly this key, whatever became of them."""
        made = [
            log.insert_attempt(ItemId(item), base_seq=Seq(4), stack=stack, key=KEY, started_at=NOW)
            for item, stack in ((1, []), (1, [Member(ChangeId("one"), 1)]), (2, []))
        ]
        failed = replace(made[0], state=AttemptState.FAILED)
        log.update_attempt(failed)
        assert log.controls(KEY) == [failed, made[2]]
        assert [attempt.is_control for attempt in made] == [True, False, True]

    def test_how_long_tests_took_that_passed(self, log: LogStore) -> None:
        """Of one command, the newest first; not of those that used another's result."""
        for number in range(6):
            state = AttemptState.FAILED if number == 2 else AttemptState.PASSED
            key = replace(KEY, command="true") if number == 3 else KEY
            attempt = log.insert_attempt(
                ItemId(1), base_seq=Seq(4), stack=[], key=key, started_at=NOW
            )
            log.update_attempt(replace(attempt, state=state, ended_at=later(number)))
        durations = [(later(number) - NOW).total_seconds() for number in (5, 4, 1)]
        assert log.passed_durations_s(KEY.command, 10) == durations
        assert log.passed_durations_s(KEY.command, 2) == durations[:2]

    def test_certificates_are_numbered_and_name_the_one_before(self, log: LogStore) -> None:
        """They come back as they were stored, all or an attempt's, with their digests."""
        assert log.last_certificate() == (0, "")
        stored = []
        for number in (1, 2, 3):
            certificate = Certificate(
                number=number,
                previous=log.last_certificate()[1],
                item_id=ItemId(7),
                attempt_id=AttemptId(number + 10),
                tested_by=AttemptId(3),
                base_seq=Seq(4),
                base_root=KEY.root,
                stack=(Member(CHANGE, 1), Member(CHANGE, 2)),
                members=(Member(CHANGE, 2),),
                root=KEY.root,
                command=KEY.command,
                environment_hash=KEY.environment_hash,
                exit_code=0,
                output_hash=None,
                started_at=NOW,
                ended_at=NOW,
                main_seq=Seq(5),
                main_root=KEY.root,
                certified_at=NOW,
            )
            digest = log.insert_certificate(certificate)
            assert log.last_certificate() == (number, digest)
            stored.append(StoredCertificate(certificate, digest, is_intact=True))
        assert log.certificates() == stored
        assert log.certificates(AttemptId(12)) == stored[1:2]
        assert log.certificates(AttemptId(1)) == []
        assert len({each.digest for each in stored}) == 3

    def test_switches_are_off_until_set(self, log: LogStore) -> None:
        """Each by its name."""
        assert not log.queue_flag("paused")
        log.set_queue_flag("paused", on=True)
        assert log.queue_flag("paused")
        assert not log.queue_flag("other")
        log.set_queue_flag("paused", on=False)
        assert not log.queue_flag("paused")


class RecordConformance(
    ChangeConformance,
    TreeConformance,
    ViewConformance,
    WorkspaceConformance,
    QueueConformance,
):
    """All of it."""
