"""The submit queue's policy: from what is known of the queue to what is to be done about it.

Pure: `pwfs.submit.snapshot` says what must be known, `pwfs.submit.reading` makes a line of it,
`pwfs.submit.policies` tell which tests are wanted in that line, `pwfs.submit.plan` what is to be
done, and `pwfs.submit.invariants` checks a plan against the promises by other means than it was
made. A runner carries the actions out; a simulator keeps lines of its own for the same policies.
"""

from pwfs.submit.actions import Action, Compose, Eject, Land, Reuse, Start, Stop
from pwfs.submit.history import History
from pwfs.submit.invariants import InvariantBroken, check_actions
from pwfs.submit.line import Policy
from pwfs.submit.ordering import in_queue_order
from pwfs.submit.plan import plan
from pwfs.submit.snapshot import Composition, Snapshot, hash_environment

__all__ = [
    "Action",
    "Compose",
    "Composition",
    "Eject",
    "History",
    "InvariantBroken",
    "Land",
    "Policy",
    "Reuse",
    "Snapshot",
    "Start",
    "Stop",
    "check_actions",
    "hash_environment",
    "in_queue_order",
    "plan",
]
