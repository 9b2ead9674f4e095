"""What the submit queue refuses; a part of `pwfs.model.errors`."""

from dataclasses import dataclass

from pwfs.model.failure import Category, PatchworkError


@dataclass
class AlreadyQueued(PatchworkError):
    """A change is submitted twice."""

    change_id: str
    code = "already_queued"
    category = Category.CONFLICT
    hint = "See `patchwork queue`; cancel it there to submit another version."

    @property
    def message(self) -> str:
        return f"Change {self.change_id} is in the queue already"


@dataclass
class StaleBase(PatchworkError):
    """Main moved between a test and its landing (compare and swap failed)."""

    expected_seq: int
    found_seq: int
    code = "stale_base"
    category = Category.CONFLICT
    hint = "Test again on the current head."

    @property
    def message(self) -> str:
        return f"Main is at {self.found_seq}, not at {self.expected_seq} as when this was tested"


@dataclass
class TreeClosed(PatchworkError):
    """Somebody closed the tree: nothing lands but what jumps the queue."""

    agent_id: str
    reason: str
    code = "tree_closed"
    category = Category.CONFLICT
    hint = "`patchwork submit` it, and if it cannot wait, `patchwork queue jump` it with a reason."

    @property
    def message(self) -> str:
        return f"The tree was closed by {self.agent_id}: {self.reason}"


@dataclass
class TestCommandMissing(PatchworkError):
    """The queue has no test command to run."""

    code = "test_command_missing"
    category = Category.CONFLICT
    hint = 'Set one: patchwork config set test-cmd "make test". `true` accepts everything.'
    __test__ = False

    @property
    def message(self) -> str:
        return "No test command is configured"


@dataclass
class TooManyQueued(PatchworkError):
    """An agent has as many items in the queue as it may have."""

    agent_id: str
    limit: int
    code = "too_many_queued"
    category = Category.CONFLICT
    hint = "Wait until one of them landed or left, or cancel one: `patchwork queue`."

    @property
    def message(self) -> str:
        return f"Agent {self.agent_id} has {self.limit} items in the queue, the most it may have"


@dataclass
class NotIndependent(PatchworkError):
    """A result of another tree was to count, but what the two differ in may concern the item."""

    item_id: int
    reason: str
    code = "not_independent"
    category = Category.CONFLICT
    hint = "It is tested again on main as it is."

    @property
    def message(self) -> str:
        return f"A test of another tree says nothing of item {self.item_id}: {self.reason}"
