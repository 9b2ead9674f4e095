"""What every `LogStore` promises: the log's own part, and with it all the rest.

A store is tested by a class that inherits `LogConformance` and overrides the fixture ``open_log``.
"""

from collections.abc import Callable

import pytest

from pwfs.model.changes import Landing
from pwfs.model.errors import StaleBase
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, ChangeId, Seq
from pwfs.model.paths import ROOT
from pwfs.store.codec import op_record
from pwfs.store.protocols import LogStore
from tests.store.conformance_ops import OpConformance
from tests.store.conformance_records import OpenLog, RecordConformance
from tests.store.samples import (
    AGENT,
    CHANGE,
    NOW,
    OTHER,
    TREE,
    append,
    change,
    create,
    land,
    later,
    modify,
    path,
)


class LandingConformance:
    def test_a_landing_comes_back_as_it_was_given(self, log: LogStore) -> None:
        """With its number, its tree and its certificate."""
        append(log, create("a"))
        landing = log.append_landing(
            change_id=CHANGE,
            version=4,
            agent_id=AgentId("queue"),
            root=TREE,
            previous_seq=Seq(0),
            verified=False,
            attempt_id=None,
            timestamp=NOW,
        )
        assert landing == Landing(
            Seq(2), NOW, CHANGE, 4, AgentId("queue"), TREE, Seq(0), verified=False
        )
        assert log.head_landing() == log.landing_of(CHANGE) == landing
        assert log.landing_of(OTHER) is None

    def test_main_is_found_at_every_number(self, log: LogStore) -> None:
        """The newest landing at or before a number, none before the first."""
        assert log.head_landing() is None
        append(log, create("a"))
        first = land(log, CHANGE, 1)
        append(log, create("b"), to=OTHER)
        second = land(log, OTHER, 1)
        found = [log.landing_at(Seq(seq)) for seq in range(6)]
        assert found == [None, None, first, first, second, second]
        assert log.landings() == [first, second]
        assert log.landings(since=first.seq) == [second]
        assert log.landings(limit=1) == [first]

    def test_a_landing_on_anything_but_the_head_is_refused(self, log: LogStore) -> None:
        """Two that follow the same landing cannot both land, and the refusal changes nothing."""
        first = land(log, CHANGE, 1)
        with pytest.raises(StaleBase) as refusal:
            log.append_landing(
                change_id=OTHER,
                version=1,
                agent_id=AGENT,
                root=TREE,
                previous_seq=Seq(0),
                verified=True,
                attempt_id=None,
                timestamp=NOW,
            )
        assert (refusal.value.expected_seq, refusal.value.found_seq) == (0, first.seq)
        assert log.head_landing() == first

    def test_touched_tells_the_last_landing_of_each_path(self, log: LogStore) -> None:
        """By path and by directory, as of any number, for names right in the directory."""
        land(log, ChangeId("import"), 1)
        touched = ((path("a"), Seq(10)), (path("d/a"), Seq(11)), (path("d/e/f"), Seq(12)))
        first = land(log, CHANGE, 1, touched=touched, timestamp=later(1))
        again = ((path("d/a"), Seq(20)), (path("d-2/a"), Seq(21)))
        second = land(log, OTHER, 1, touched=again, timestamp=later(2))
        assert log.touched(path("d/a"), second.seq) == (later(2), 20)
        assert log.touched(path("d/a"), first.seq) == (later(1), 11)
        assert log.touched(path("d/a"), Seq(first.seq - 1)) is None
        assert log.touched(path("d"), second.seq) is None
        assert log.landings_touching(path("d/a"), Seq(0), 9) == [first, second]
        assert log.landings_touching(path("d/a"), Seq(0), 1) == [first]
        assert log.landings_touching(path("d/a"), first.seq, 9) == [second]
        assert log.landings_touching(path("d"), Seq(0), 9) == []
        assert log.touched_in(ROOT, second.seq) == {"a": (later(1), 10)}
        assert log.touched_in(path("d"), second.seq) == {"a": (later(2), 20)}
        assert log.touched_in(path("d"), first.seq) == {"a": (later(1), 11)}
        assert log.touched_in(path("d/e"), second.seq) == {"f": (later(1), 12)}
        assert log.touched_in(path("d"), Seq(1)) == {}


class EventConformance:
    def test_events_rise_by_one_and_come_back(self, log: LogStore) -> None:
        """One number for every event, whichever kind; nothing is lost on the way."""
        payload: dict[str, object] = {"change_id": CHANGE, "n": [1, None, {"ü": 0.5}], "seq": 2**53}
        created = log.append_event(EventType.CHANGE_CREATED, payload, NOW)
        ops = append(log, create("a"), create("b"))
        landed = log.append_event(EventType.CHANGE_LANDED, {}, later(1))
        assert (created.id, landed.id, log.last_event_id()) == (1, 4, 4)
        told = log.events()
        assert [event.id for event in told] == [1, 2, 3, 4]
        assert told[0] == created
        assert told[0].payload == payload
        assert told[3] == landed
        assert [event.payload for event in told[1:3]] == [op_record(op) for op in ops]
        assert {(event.type, event.timestamp) for event in told[1:3]} == {
            (EventType.OP_APPENDED, NOW)
        }

    def test_events_are_read_from_anywhere(self, log: LogStore) -> None:
        """Also from the middle of operations that were appended together, and by pages."""
        append(log, *[create(f"f{number}") for number in range(5)])
        log.append_event(EventType.CHANGE_STATUS, {}, NOW)
        append(log, create("x"))
        for since in range(9):
            for limit in range(9):
                expected = list(range(since + 1, 8))[:limit]
                assert [event.id for event in log.events(since, limit=limit)] == expected
        assert [event.payload["id"] for event in log.events(3, limit=2)] == [4, 5]

    def test_events_of_some_types_only(self, log: LogStore) -> None:
        """The limit counts what is asked for, not what is passed over."""
        append(log, create("a"), create("b"))
        log.append_event(EventType.CHANGE_STATUS, {"n": 1}, NOW)
        append(log, create("c"))
        log.append_event(EventType.CHANGE_LANDED, {"n": 2}, NOW)
        log.append_event(EventType.CHANGE_STATUS, {"n": 3}, NOW)
        rare = {EventType.CHANGE_STATUS, EventType.CHANGE_LANDED}
        assert [event.id for event in log.events(types=rare)] == [3, 5, 6]
        assert [event.id for event in log.events(types=rare, limit=2)] == [3, 5]
        assert [event.id for event in log.events(3, types=rare)] == [5, 6]
        both = {EventType.OP_APPENDED, EventType.CHANGE_LANDED}
        assert [event.id for event in log.events(1, types=both)] == [2, 4, 5]
        assert [event.id for event in log.events(types=[EventType.OP_APPENDED])] == [1, 2, 4]
        assert log.events(types=[]) == []

    def test_the_events_of_operations_are_not_made_by_hand(self, log: LogStore) -> None:
        """They come with the operations, so that neither is without the other."""
        with pytest.raises(ValueError, match="appended with them"):
            log.append_event(EventType.OP_APPENDED, {}, NOW)


class TransactionConformance:
    def test_a_failure_takes_everything_back(self, log: LogStore) -> None:
        """Operations, events, landings, records: as if nothing had been tried."""
        append(log, create("a"))

        def attempt() -> None:
            with log.transaction():
                append(log, create("b"))
                log.insert_change(change())
                land(log, CHANGE, 1, touched=((path("b"), Seq(2)),))
                log.append_event(EventType.CHANGE_LANDED, {}, NOW)
                raise KeyError("no")

        with pytest.raises(KeyError, match="no"):
            attempt()
        assert (log.head_seq(), log.last_event_id()) == (1, 1)
        assert log.change(CHANGE) is None
        assert log.head_landing() is None
        assert log.touched(path("b"), Seq(99)) is None
        assert append(log, create("c"))[0].id == 2

    def test_a_transaction_sees_its_own_work(self, log: LogStore) -> None:
        """Numbers, parents and reads inside count what was done inside."""
        inside = [log.in_transaction]
        with log.transaction():
            inside.append(log.in_transaction)
            append(log, create("a"))
            assert append(log, modify("a"))[0].parent_seq == 1
            assert log.head_seq() == 2
            assert len(log.events()) == 2
        inside.append(log.in_transaction)
        assert inside == [False, True, False]
        assert log.head_seq() == 2

    def test_an_inner_transaction_joins_the_outer(self, log: LogStore) -> None:
        """What the inner one did goes when the outer one fails."""

        def attempt() -> None:
            with log.transaction():
                with log.transaction():
                    append(log, create("a"))
                assert log.in_transaction
                raise KeyError("no")

        with pytest.raises(KeyError):
            attempt()
        assert log.head_seq() == 0

    def test_half_of_an_inner_transaction_is_never_committed(self, log: LogStore) -> None:
        """When it failed after a change, the outer one cannot pretend that all went well."""

        def fail_halfway() -> None:
            with log.transaction():
                append(log, create("b"))
                raise KeyError("no")

        def attempt() -> None:
            with log.transaction():
                append(log, create("a"))
                with pytest.raises(KeyError):
                    fail_halfway()

        with pytest.raises(RuntimeError, match="inner transaction"):
            attempt()
        assert log.head_seq() == 0
        assert append(log, create("a"))[0].id == 1

    def test_a_refused_call_can_be_handled_inside_a_transaction(self, log: LogStore) -> None:
        """It changed nothing, so that the rest is committed."""
        first = land(log, CHANGE, 1)
        with log.transaction():
            append(log, create("a"))
            with pytest.raises(StaleBase):
                log.append_landing(
                    change_id=OTHER,
                    version=1,
                    agent_id=AGENT,
                    root=TREE,
                    previous_seq=Seq(first.seq + 1),
                    verified=True,
                    attempt_id=None,
                    timestamp=NOW,
                )
        assert log.head_seq() == 2

    def test_a_log_can_be_synced_at_any_time(self, log: LogStore) -> None:
        """Before anything is written, after it, inside a transaction, twice."""
        log.sync()
        append(log, create("a"))
        log.sync()
        with log.transaction():
            append(log, create("a"))
            log.sync()
        log.sync()

    def test_a_log_that_is_well_says_nothing(self, log: LogStore) -> None:
        """No complaint about ordinary work."""
        assert log.integrity_check() == []
        append(log, create("a"), create("b"))
        log.append_event(EventType.CHANGE_STATUS, {}, NOW)
        land(log, CHANGE, 1)
        assert log.integrity_check() == []

    def test_closing_twice_is_harmless(self, open_log: OpenLog) -> None:
        """The second time there is nothing left to do."""
        log = open_log()
        log.close()
        log.close()


class LogConformance(
    OpConformance, LandingConformance, EventConformance, TransactionConformance, RecordConformance
):
    """The whole suite."""

    @pytest.fixture
    def open_log(self) -> Callable[[], LogStore]:
        """Makes a new, empty log at each call, and closes them all at the end."""
        raise NotImplementedError

    @pytest.fixture
    def log(self, open_log: OpenLog) -> LogStore:
        """A new, empty log."""
        return open_log()
