"""`patchwork land`, `rebase` and `conflicts`: a change and main."""

from pwfs_cli.api import client, part
from pwfs_cli.commands.change import ChangeId
from pwfs_cli.output import count, show
from pwfs_cli.session import Agent, Json


def land_change(change_id: ChangeId, agent: Agent = "", json: Json = False) -> None:
    """Land a change directly, around the queue and its test."""
    landing = client().post(f"changes/{part(change_id)}/land", {"agent_id": agent})
    line = f"Landed {landing['change_id']} (version {landing['version']}) as #{landing['seq']}."
    show(landing, [line])


def rebase_change(change_id: ChangeId, agent: Agent = "", json: Json = False) -> None:
    """Replay a change on the head, as a new version."""
    version = client().post(f"changes/{part(change_id)}/rebase", {"agent_id": agent})
    line = f"Rebased {change_id} onto #{version['base_seq']} as version {version['number']}."
    show(version, [line])


def show_conflicts(change_id: ChangeId, json: Json = False) -> None:
    """Compare a change with main and with every other open change."""
    found = client().get(f"changes/{part(change_id)}/conflicts")
    conflicts = found["conflicts"]
    if not conflicts:
        show(found, [f"Change {change_id} has no conflicts."])
        return
    lines = [f"Change {change_id} has {count(len(conflicts), 'conflict')}:"]
    for conflict in conflicts:
        other = conflict["their_change"] or "main"
        lines.append(f"{conflict['path']}: {conflict['type']} with {other}")
    show(found, lines)
