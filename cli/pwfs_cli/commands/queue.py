"""`patchwork submit` and `patchwork queue`: what is tested, and what lands."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pwfs.model.exits import ExitCode
from pwfs_cli.api import CHUNK_SIZE_BYTES, client, part
from pwfs_cli.commands.replay import replay
from pwfs_cli.output import moment, note, show, table
from pwfs_cli.session import Agent, Json

if TYPE_CHECKING:
    from pwfs_cli.client import Client

app = typer.Typer(help="Show and steer the submit queue.")

ItemRef = Annotated[
    str, typer.Argument(metavar="ITEM", help="A change in the queue, or #ID.", show_default=False)
]
ENDS = "change_landed,item_ejected,item_cancelled"


def submit(
    changes: Annotated[list[str], typer.Argument(metavar="CHANGE...", show_default=False)],
    agent: Agent = "",
    priority: Annotated[int, typer.Option(metavar="N", help="Higher goes first.")] = 0,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="TEXT", help="For a version frozen now.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it landed (status 0) or left (10).")
    ] = False,
    foresee: Annotated[
        bool, typer.Option("--what-if", help="Only tell what would become of it.")
    ] = False,
    resubmit: Annotated[
        int,
        typer.Option(metavar="N", help="Submit again by itself, N times, what may pass as it is."),
    ] = 0,
    json: Json = False,
) -> None:
    """Submit a change to the queue; several at once land together or not at all."""
    daemon = client()
    if foresee:
        question = {"changes": changes, "agent_id": agent, "priority": priority}
        found = daemon.post("queue/what-if", question)
        show(found, list(_prospect_lines(found)))
        return
    # Listening begins before, so that a quick end is not missed.
    events = daemon.events(types=ENDS) if wait else None
    item = daemon.post(
        "queue",
        {
            "changes": changes,
            "agent_id": agent,
            "priority": priority,
            "message": message,
            "resubmits": resubmit,
        },
    )
    lines = [
        f"Submitted change {m['change_id']} (version {m['version']}) to the queue."
        for m in item["members"]
    ]
    lines += [f"Position: {item['position']}", f"Status: {item['status']}"]
    if events is None:
        show(item, lines)
        return
    if not json:
        show(item, lines)
        sys.stdout.flush()
    _finish(_await_end(daemon, item["id"], events), json=json)


@app.callback(invoke_without_command=True)
def show_queue(
    context: typer.Context,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show which tests run, and what they assume.")
    ] = False,
    json: Json = False,
) -> None:
    """Show and steer the submit queue; without a command, the table of it."""
    if context.invoked_subcommand is not None:
        return
    if plan:
        planned = client().get("queue/plan")
        show(planned, list(_plan_lines(planned)))
        return
    found = client().get("queue")
    if found["paused"] and not json:
        note("The queue is paused: patchwork queue resume")
    if found["closing"] and not json:
        closed = found["closing"]
        note(f"The tree is closed by {closed['agent_id']}: {closed['reason']}")
    if not found["items"]:
        show(found, ["The queue is empty."])
        return
    rows = [
        (
            item["position"],
            m["change_id"],
            f"v{m['version']}",
            item["status"],
            moment(item["entered_at"]),
        )
        for item in found["items"]
        for m in item["members"]
    ]
    show(found, table(("POS", "CHANGE", "VER", "STATUS", "ENTERED"), rows))


@app.command("show")
def show_item(item: ItemRef, json: Json = False) -> None:
    """Show one item with its attempts, also when it has left the queue (#ID)."""
    daemon = client()
    found = daemon.get(f"queue/items/{_find(daemon, item)}")
    lines = [
        f"Item: #{found['id']}",
        *(f"Change: {m['change_id']} (version {m['version']})" for m in found["members"]),
        f"Status: {found['status']}",
        f"Position: {'-' if found['position'] is None else found['position']}",
        f"Priority: {found['priority']}",
        f"Entered: {moment(found['entered_at'])}",
    ]
    if found["jump"]:
        lines.append(f"Jumped: {found['jump']['agent_id']}: {found['jump']['reason']}")
    if found["reason"]:
        lines.append(f"Reason: {found['reason']}: {found['detail']}")
    if found["ejection"]:
        lines += _ejection_lines(found["ejection"])
    lines += [_targets_line(each) for each in found.get("targets", ())]
    lines += [_attempt_line(attempt) for attempt in found["attempts"]]
    show(found, lines)


def _targets_line(told: dict[str, Any]) -> str:
    name = f"Targets of {told['change_id']}"
    if told["targets"] is None:
        return f"{name}: not known, so it waits for all: {told['detail']}"
    return f"{name}: {', '.join(told['targets'])}"


def _attempt_line(attempt: dict[str, Any]) -> str:
    subject = "" if attempt["stack"] else "main by itself "
    what = f"Attempt #{attempt['id']}: {subject}{attempt['state']} on #{attempt['base_seq']}"
    rests_on = f", by #{attempt['rests_on']}" if "rests_on" in attempt else ""
    return f"{what}{rests_on} {moment(attempt['started_at'])}"


@app.command("cancel")
def cancel(item: ItemRef, agent: Agent = "", json: Json = False) -> None:
    """Take an item out of the queue."""
    daemon = client()
    found = daemon.request("DELETE", f"queue/items/{_find(daemon, item)}", {"agent_id": agent})
    show(found, [f"Cancelled {_names(found)}."])


@app.command("pause")
def pause(json: Json = False) -> None:
    """Let nothing start or land for now; tests that run go on."""
    show(client().post("queue/pause"), ["The queue is paused."])


@app.command("resume")
def resume(json: Json = False) -> None:
    """End a pause."""
    show(client().post("queue/resume"), ["The queue goes on."])


@app.command("close")
def close(
    reason: Annotated[str, typer.Argument(metavar="REASON", show_default=False)],
    agent: Agent = "",
    json: Json = False,
) -> None:
    """Close the tree: nothing lands but what jumps the queue; tests go on."""
    found = client().post("queue/close", {"reason": reason, "agent_id": agent})
    show(found, ["The tree is closed: patchwork queue open"])


@app.command("open")
def open_tree(agent: Agent = "", json: Json = False) -> None:
    """Open the tree again; what passed meanwhile lands."""
    show(client().post("queue/open", {"agent_id": agent}), ["The tree is open."])


@app.command("jump")
def jump(
    item: ItemRef,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", show_default=False)],
    agent: Agent = "",
    json: Json = False,
) -> None:
    """Let an item go before all others, also while the tree is closed."""
    daemon = client()
    place = f"queue/items/{_find(daemon, item)}/jump"
    found = daemon.post(place, {"reason": reason, "agent_id": agent})
    show(found, [f"{_names(found)} is at position {found['position']}."])


app.command("replay")(replay)


@app.command("priority", context_settings={"ignore_unknown_options": True})
def set_priority(
    item: ItemRef,
    priority: Annotated[int, typer.Argument(metavar="N", show_default=False)],
    json: Json = False,
) -> None:
    """Move an item: higher priorities go first."""
    daemon = client()
    place = f"queue/items/{_find(daemon, item)}/priority"
    found = daemon.request("PUT", place, {"priority": priority})
    show(
        found, [f"{_names(found)} has priority {found['priority']}, position {found['position']}."]
    )


@app.command("output")
def show_output(
    item: ItemRef,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the test ends.")
    ] = False,
    json: Json = False,
) -> None:
    """Print what an item's latest test printed."""
    daemon = client()
    place = f"queue/items/{_find(daemon, item)}/output"
    with daemon.send("GET", place, follow=follow) as response:
        if json:
            text = response.read().decode("utf-8", "replace")
            show({"output": text}, [])
            return
        while chunk := response.read1(CHUNK_SIZE_BYTES):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def _plan_lines(plan: dict[str, Any]) -> Iterator[str]:
    """Draws the queue as a tree: main, each item below it, and its tests by what they assume."""
    yield f"main ({plan['policy']}, {plan['width']} at once)"
    if not plan["items"]:
        yield "The queue is empty."
    for number, item in enumerate(plan["items"]):
        is_last = number == len(plan["items"]) - 1
        yield (
            f"{'└' if is_last else '├'}─ #{item['item_id']} {', '.join(item['changes'])}"
            f"  lands: {item['odds']:.0%}"
        )
        stem = "   " if is_last else "│  "
        tests = item["tests"] or [{"assumes": None, "state": "waits", "attempt_id": None}]
        for place, test in enumerate(tests):
            corner = "└" if place == len(tests) - 1 else "├"
            yield f"{stem}{corner}─ {_test_line(test)}"


def _test_line(test: dict[str, Any]) -> str:
    attempt = f" (attempt #{test['attempt_id']})" if test["attempt_id"] is not None else ""
    state = f"{test['state']}{attempt}"
    if test["assumes"] is None:
        return state
    return f"{state} on {' + '.join(['main', *test['assumes']])}"


def _prospect_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"Position: {found['position']}"
    yield f"Waits for: {len(found['waits_for'])} in the queue"
    yield f"Lands: {found['odds']:.0%}"
    for conflict in found["conflicts"]:
        yield f"Conflict: {conflict['path']}, with {conflict['with'] or 'main'}"
    if found["wait_expected_s"] is None:
        yield f"Wait: {found['rounds_expected']:.1f} tests, one after the other"
    else:
        yield f"Wait: {found['wait_expected_s']:.0f} s, with slow tests {found['wait_p95_s']:.0f} s"


def _ejection_lines(ejection: dict[str, Any]) -> Iterator[str]:
    yield f"Cause: {ejection['cause']}"
    if ejection["with_changes"]:
        yield f"With: {', '.join(ejection['with_changes'])}"
    for dispute in ejection["disputes"]:
        lines = [_line_range(each["your_first"], each["your_count"]) for each in dispute["regions"]]
        where = f" (lines {', '.join(lines)})" if lines else ""
        other = dispute["with_change"] or "main"
        yield f"Conflict: {dispute['path']}{where}: {dispute['type']}, with {other}"
    yield f"Remedy: {ejection['remedy']}"
    yield f"Merges with main: {'yes' if ejection['merges'] else 'no'}"
    if ejection["view_id"]:
        yield f"Tested tree: at/{ejection['view_id']} in the mount"
    if ejection["resubmitted_as"]:
        yield f"Submitted again as: #{ejection['resubmitted_as']}"


def _line_range(first: int, count: int) -> str:
    return f"{first}-{first + count - 1}" if count > 1 else str(first)


def _find(daemon: "Client", ref: str) -> str:
    """Finds an item's id: given itself, or the queued item of a change, or its latest one."""
    number = ref.removeprefix("#")
    if number.isascii() and number.isdigit():
        return number
    item = daemon.get("queue/items", change_id=ref)["items"]
    return str(item[-1]["id"])


def _await_end(daemon: "Client", item_id: int, events: Iterator[Any]) -> Any:
    """Waits until an item is out of the queue."""
    place = f"queue/items/{part(str(item_id))}"
    while True:
        next(events)
        item = daemon.get(place)
        if item["state"] == "queued":
            continue
        again = (item["ejection"] or {}).get("resubmitted_as")
        if again is None:
            return item
        place = f"queue/items/{part(str(again))}"


def _finish(item: dict[str, Any], *, json: bool) -> None:
    names = _names(item)
    if item["state"] == "landed":
        show(item, [f"Landed: {names}"])
        return
    reason = item["reason"] or "cancelled"
    show(item, [f"Left the queue without landing: {names} ({reason})"])
    if item["detail"] and not json:
        note(item["detail"].rstrip())
    raise typer.Exit(ExitCode.EJECTED)


def _names(item: dict[str, Any]) -> str:
    return ", ".join(m["change_id"] for m in item["members"])
