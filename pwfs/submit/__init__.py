"""The submit queue's policy: from what is known of the queue to what is to be done about it.

Pure: `pwfs.submit.snapshot` says what must be known, `pwfs.submit.forecast` where each item
stands, `pwfs.submit.plan` what follows from it, and `pwfs.submit.invariants` checks a plan against
the promises by other means than it was made. A runner or a simulator carries the actions out.
"""

from pwfs.submit.actions import Action, Compose, Eject, Land, Reuse, Start, Stop
from pwfs.submit.forecast import Place, Standing, foresee
from pwfs.submit.invariants import InvariantBroken, check_actions
from pwfs.submit.plan import plan
from pwfs.submit.snapshot import Composition, Snapshot, hash_environment, in_queue_order

__all__ = [
    "Action",
    "Compose",
    "Composition",
    "Eject",
    "InvariantBroken",
    "Land",
    "Place",
    "Reuse",
    "Snapshot",
    "Standing",
    "Start",
    "Stop",
    "check_actions",
    "foresee",
    "hash_environment",
    "in_queue_order",
    "plan",
]
