"""What every `LogStore` promises of the operations."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pwfs.model.errors import NotFound
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.ops import NewOp, Op, OpType, Provenance
from pwfs.model.paths import RepoPath
from pwfs.store.codec import op_record
from pwfs.store.protocols import LogStore
from tests.store.conformance_records import OpenLog
from tests.store.samples import (
    AGENT,
    CHANGE,
    NOW,
    OTHER,
    append,
    change,
    copy,
    create,
    delete,
    land,
    modify,
    moments,
    new_ops,
    path,
    paths,
    rename,
    version,
)

fresh_log_per_example = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    max_examples=60,
)


class OpConformance:
    def test_operations_come_back_as_they_were_given(self, log: LogStore) -> None:
        """An operation has the next number, and all that the caller said."""
        given_ops = [create("a"), modify("a"), rename("a", "b"), copy("b", "c"), delete("b")]
        stored = log.append_ops(CHANGE, 3, AGENT, given_ops, NOW)
        assert [op.id for op in stored] == [1, 2, 3, 4, 5]
        assert [op.new for op in stored] == given_ops
        assert {(op.change_id, op.version, op.agent_id, op.timestamp) for op in stored} == {
            (CHANGE, 3, AGENT, NOW)
        }
        assert log.ops() == stored
        assert log.op(Seq(4)) == stored[3]
        assert log.op(Seq(6)) is None

    @fresh_log_per_example
    @given(ops=st.lists(new_ops(), min_size=1, max_size=5), timestamp=moments)
    def test_every_field_survives(
        self, open_log: OpenLog, ops: list[NewOp], timestamp: datetime
    ) -> None:
        """Whatever an operation can hold, to the microsecond, is read as it was written."""
        log = open_log()
        stored = log.append_ops(CHANGE, 1, AGENT, ops, timestamp)
        assert [op.new for op in stored] == ops
        assert log.ops() == stored
        assert [op.timestamp for op in log.ops()] == [timestamp] * len(ops)

    def test_times_come_back_in_utc(self, log: LogStore) -> None:
        """A time in another zone is the same moment in UTC."""
        elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))
        log.append_ops(CHANGE, 1, AGENT, [create("a")], elsewhere)
        (op,) = log.ops()
        assert op.timestamp == NOW
        assert op.timestamp.utcoffset() == timedelta(0)

    def test_a_command_that_is_not_text_is_kept_readable(self, log: LogStore) -> None:
        """A process may give itself any bytes as its name; the log stays UTF-8."""
        odd = replace(create("a"), process=Provenance(1, "sh\udcff", 0))
        append(log, odd)
        (op,) = log.ops()
        assert op.new.process == Provenance(1, "sh?", 0)

    def test_one_counter_numbers_operations_and_landings(self, log: LogStore) -> None:
        """Numbers rise by one whatever takes them, and `head_seq` is the last."""
        assert log.head_seq() == 0
        assert append(log, create("a"), create("b"))[-1].id == 2
        assert land(log, CHANGE, 1).seq == 3
        assert log.head_seq() == 3
        assert append(log, create("a"), to=OTHER)[0].id == 4
        assert land(log, OTHER, 1).seq == log.head_seq() == 5

    def test_no_operations_change_nothing(self, log: LogStore) -> None:
        """Appending none takes no number and makes no event."""
        assert append(log) == []
        assert (log.head_seq(), log.last_event_id()) == (0, 0)

    def test_the_parent_is_the_changes_last_operation_on_the_path(self, log: LogStore) -> None:
        """In one call or several, another change's drafts do not count."""
        append(log, create("a"), create("b"), modify("a"))
        append(log, create("a"), to=OTHER)
        parents = [op.parent_seq for op in append(log, modify("b"), modify("a"), modify("a"))]
        assert parents == [2, 3, 6]
        assert [op.parent_seq for op in log.ops(until=Seq(4))] == [0, 0, 1, 0]

    def test_a_rename_follows_its_source_and_ends_both_paths(self, log: LogStore) -> None:
        """Its parent is on the old path; what comes next on either path follows it."""
        append(log, create("a"), create("b"))
        assert append(log, rename("a", "b"))[0].parent_seq == 1
        assert [op.parent_seq for op in append(log, create("a"), modify("b"))] == [3, 3]

    def test_a_save_through_a_temporary_file_follows_its_target(self, log: LogStore) -> None:
        """Its parent is on the path that was saved; it ends the temporary file's."""
        append(log, create("a"), create("tmp"))
        (saved,) = append(log, replace(modify("a"), old_path=path("tmp")))
        assert saved.parent_seq == 1
        assert [op.parent_seq for op in append(log, create("tmp"), modify("a"))] == [3, 3]

    def test_a_copy_follows_its_source_and_leaves_it(self, log: LogStore) -> None:
        """Its parent is on the old path, which goes on from where it was."""
        append(log, create("a"))
        assert append(log, copy("a", "b"))[0].parent_seq == 1
        assert [op.parent_seq for op in append(log, modify("a"), modify("b"))] == [1, 2]

    def test_without_its_own_a_change_follows_what_landed(self, log: LogStore) -> None:
        """The parent is the last landed operation, of the first landing too."""
        log.insert_change(change(CHANGE, versions=(version(1, (1, 2)),)))
        append(log, create("dir/a"), create("b"))
        append(log, modify("b"), number=2)
        land(log, CHANGE, 1)
        first = append(log, modify("dir/a"), modify("b"), create("c"), to=OTHER)
        assert [op.parent_seq for op in first] == [1, 2, 0]
        land(log, OTHER, 1, touched=((path("dir/a"), first[0].id),))
        third = append(log, modify("dir/a"), modify("b"), to=ChangeId("third"))
        assert [op.parent_seq for op in third] == [first[0].id, 2]

    def test_operations_by_number_keep_the_order_asked_for(self, log: LogStore) -> None:
        """Runs, gaps, repetitions and steps backwards all come as asked."""
        ops = append(log, *[create(f"f{number}") for number in range(9)])
        wanted = [Seq(n) for n in (3, 4, 5, 1, 9, 9, 2, 3)]
        assert log.ops_numbered(wanted) == [ops[n - 1] for n in wanted]
        assert log.ops_numbered([]) == []

    def test_a_number_that_is_no_operations_is_refused(self, log: LogStore) -> None:
        """A landing's number or a future one is NotFound, naming it."""
        append(log, create("a"))
        land(log, CHANGE, 1)
        append(log, create("a"))
        with pytest.raises(NotFound, match="'2'"):
            log.ops_numbered([Seq(1), Seq(2), Seq(3)])
        with pytest.raises(NotFound, match="'4'"):
            log.ops_numbered([Seq(3), Seq(4)])

    def test_drafts_are_what_is_collected_for_later_versions(self, log: LogStore) -> None:
        """Operations of higher versions than the one given, of that change alone."""
        append(log, create("a"))
        append(log, create("a"), to=OTHER, number=2)
        later_ops = [*append(log, modify("a"), number=2), *append(log, modify("a"), number=3)]
        assert log.draft_ops(CHANGE, 1) == later_ops
        assert log.draft_ops(CHANGE, 0) == log.ops(change_id=CHANGE)
        assert log.draft_ops(CHANGE, 3) == []

    def test_the_last_operation_on_a_path_is_the_last_landed(self, log: LogStore) -> None:
        """As of a number; drafts do not count, nor does what landed later."""
        log.insert_change(change(CHANGE, versions=(version(1, (1,)),)))
        (first,) = append(log, create("a"))
        landed = land(log, CHANGE, 1)
        (second,) = append(log, modify("a"), to=OTHER)
        assert log.last_op_on(path("a"), landed_until=landed.seq) == first
        assert log.last_op_on(path("a"), landed_until=first.id) is None
        last = land(log, OTHER, 1, touched=((path("a"), second.id),))
        assert log.last_op_on(path("a"), landed_until=last.seq) == second
        assert log.last_op_on(path("a"), landed_until=second.id) == first
        assert log.last_op_on(path("b"), landed_until=last.seq) is None

    def test_landed_renames_are_those_of_the_versions_that_landed(self, log: LogStore) -> None:
        """In the order of the landings; half open as all spans are."""
        ops = append(log, create("a"), rename("a", "b"), rename("b", "c"), rename("x", "y"))
        other = append(log, rename("p", "q"), to=OTHER)
        log.insert_change(change(OTHER, versions=(version(1, (other[0].id,)),)))
        log.insert_change(change(CHANGE, versions=(version(1, (4,)), version(2, (1, 3, 2)))))
        first = land(log, OTHER, 1)
        second = land(log, CHANGE, 2)
        assert log.renames_landed(Seq(0), second.seq) == [other[0], ops[2], ops[1]]
        assert log.renames_landed(first.seq, second.seq) == [ops[2], ops[1]]
        assert log.renames_landed(Seq(0), Seq(second.seq - 1)) == other
        assert log.renames_landed(second.seq, second.seq) == []

    @fresh_log_per_example
    @given(data=st.data())
    def test_queries_agree_with_a_plain_list(self, open_log: OpenLog, data: st.DataObject) -> None:
        """Filters, limits, parents and events are those of a list searched by hand."""
        log = open_log()
        model: list[Op] = []
        changes = st.sampled_from([CHANGE, OTHER])
        for _ in range(data.draw(st.integers(1, 6))):
            change_id = data.draw(changes)
            batch = data.draw(st.lists(new_ops(), min_size=1, max_size=4))
            for op in log.append_ops(change_id, 1, AGENT, batch, NOW):
                source = op.path
                if op.op_type in (OpType.RENAME, OpType.COPY):
                    assert op.new.old_path is not None
                    source = op.new.old_path
                mine = [o.id for o in model if o.change_id == change_id and acts_on(o, source)]
                assert op.parent_seq == max(mine, default=0)
                model.append(op)
        chosen = data.draw(st.none() | changes)
        on = data.draw(st.none() | paths)
        since, until = data.draw(st.integers(0, 26)), data.draw(st.none() | st.integers(0, 26))
        limit, newest_first = data.draw(st.none() | st.integers(0, 9)), data.draw(st.booleans())
        expected = [
            op
            for op in sorted(model, key=lambda op: op.id, reverse=newest_first)
            if chosen in (None, op.change_id)
            and (on is None or acts_on(op, on))
            and since < op.id
            and (until is None or op.id <= until)
        ][:limit]
        found = log.ops(
            change_id=chosen,
            path=on,
            since=Seq(since),
            until=None if until is None else Seq(until),
            limit=limit,
            newest_first=newest_first,
        )
        assert found == expected
        told = log.events(since=since, limit=9 if limit is None else limit)
        assert [event.payload for event in told] == [
            op_record(op) for op in model[since : since + (9 if limit is None else limit)]
        ]


def acts_on(op: Op, on: RepoPath) -> bool:
    return op.path == on or (op.op_type is not OpType.COPY and op.new.old_path == on)
