"""`patchwork queue replay`: what another policy would have made of the queue's own past."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pwfs.model.errors import InvalidArgument
from pwfs_cli.api import client
from pwfs_cli.output import show, table
from pwfs_cli.session import Json

if TYPE_CHECKING:
    from pwfs.submit.replaying import Replay, Tally

_HEADER = ("POLICY", "WIDTH", "LANDED", "EJECTED", "P50", "P95", "MAX", "TESTS", "WORKER")


def replay(
    policy: Annotated[
        str,
        typer.Option(metavar="POLICY", help="linear, window, tree, batch or auto."),
    ],
    speculative: Annotated[
        int | None,
        typer.Option(metavar="N", help="So many tests at once, not the setting.", min=1),
    ] = None,
    last: Annotated[
        int, typer.Option(metavar="N", help="Of the last so many items.", min=1, max=10_000)
    ] = 1_000,
    json: Json = False,
) -> None:
    """Tell what another policy would have made of what was submitted, and in how much time."""
    # Only this command pays for loading them.
    import msgspec

    from pwfs.submit import Policy
    from pwfs.submit.replaying import PastItem, replay, tally

    if policy not in set(Policy):
        choices = ", ".join(sorted(Policy))
        raise InvalidArgument(name="policy", reason=f"must be one of {choices}")
    daemon = client()
    settings = daemon.get("config")
    past = msgspec.convert(daemon.get("queue/history", limit=last)["items"], list[PastItem])
    cores, usual = len(os.sched_getaffinity(0)), settings["max-speculative"]
    now = replay(past, Policy(settings["queue-policy"]), usual, cores)
    asked = replay(past, Policy(policy), speculative or usual, cores)
    found = {"recorded": tally(past), "now": now, "asked": asked}
    show(msgspec.to_builtins(found), _lines(tally(past), now, asked))


def _lines(recorded: "Tally", now: "Replay", asked: "Replay") -> Iterator[str]:
    if not recorded.landed + recorded.ejected:
        yield "Nothing was decided yet."
        return
    yield from table(
        _HEADER,
        [
            ("recorded", "-", *_cells(recorded)),
            (f"{now.policy}(set)", now.width, *_cells(now.tally)),
            (asked.policy, asked.width, *_cells(asked.tally)),
        ],
    )
    for replayed, name in ((now, "as set"), (asked, "as asked")):
        if replayed.differing:
            yield f"Decided otherwise, {name}: {_names(replayed.differing)}"


def _cells(tally: "Tally") -> tuple[object, ...]:
    waits = (tally.wait_p50_s, tally.wait_p95_s, tally.wait_max_s)
    return (
        tally.landed,
        tally.ejected,
        *("-" if wait is None else f"{wait:.1f}s" for wait in waits),
        tally.tests,
        f"{tally.worker_s:.1f}s",
    )


def _names(items: Any) -> str:
    return ", ".join(f"#{item_id}" for item_id in items)
