"""Values to store: plain ones by hand, and hypothesis strategies for odd ones."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from pwfs.model.changes import Change, ChangeStatus, Landing, Version
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ids import (
    AgentId,
    AttemptId,
    BlobHash,
    ChangeId,
    Seq,
    TreeHash,
    WorkspaceId,
    hash_blob,
)
from pwfs.model.ops import NewOp, Op, OpType, Provenance
from pwfs.model.paths import RepoPath
from pwfs.model.views import Workspace
from pwfs.store.protocols import LogStore

NOW = datetime(2026, 3, 4, 5, 6, 7, 891234, tzinfo=UTC)
AGENT = AgentId("agent-1")
CHANGE = ChangeId("add-auth")
OTHER = ChangeId("fix-login")
TREE = TreeHash("7" * 64)


def later(seconds: float) -> datetime:
    """A moment after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def path(text: str) -> RepoPath:
    """A path that is known to be good."""
    return RepoPath(text)


def blob_hash(number: int) -> BlobHash:
    """The name of some content."""
    return hash_blob(str(number).encode())


def entry(number: int, mode: Mode = Mode.FILE) -> FileEntry:
    """Some file."""
    return FileEntry(blob_hash(number), mode, number)


def create(name: str, number: int = 1) -> NewOp:
    """The creation of a file."""
    return NewOp(OpType.CREATE, path(name), entry(number))


def modify(name: str, number: int = 2) -> NewOp:
    """The modification of a file."""
    return NewOp(OpType.MODIFY, path(name), entry(number), base=entry(1))


def delete(name: str) -> NewOp:
    """The deletion of a file."""
    return NewOp(OpType.DELETE, path(name), None, base=entry(1))


def rename(old: str, new: str, number: int = 1) -> NewOp:
    """The renaming of a file."""
    return NewOp(OpType.RENAME, path(new), entry(number), old_path=path(old), base=entry(1))


def copy(old: str, new: str, number: int = 1) -> NewOp:
    """The copying of a file."""
    return NewOp(OpType.COPY, path(new), entry(number), old_path=path(old), base=entry(1))


def change(
    change_id: str = CHANGE,
    *,
    status: ChangeStatus = ChangeStatus.DRAFT,
    versions: tuple[Version, ...] = (),
    dependencies: tuple[ChangeId, ...] = (),
    metadata: dict[str, object] | None = None,
) -> Change:
    """A change; a draft without versions unless told."""
    return Change(
        id=ChangeId(change_id),
        title=change_id.replace("-", " ").title(),
        author=AGENT,
        target="main",
        status=status,
        current_version=len(versions),
        versions=versions,
        dependencies=dependencies,
        metadata=metadata or {},
        created_at=NOW,
        updated_at=NOW,
    )


def version(number: int, operations: tuple[int, ...] = ()) -> Version:
    """A version without a test result."""
    return Version(number, tuple(Seq(seq) for seq in operations), Seq(0), NOW, f"version {number}")


def workspace(workspace_id: str, change_id: ChangeId | None = CHANGE) -> Workspace:
    """A workspace that nobody scanned."""
    return Workspace(
        id=WorkspaceId(workspace_id),
        view_id=None,
        change_id=change_id,
        agent_id=AGENT,
        directory=None,
        created_at=NOW,
        last_scan_seq=Seq(0),
        read_only=False,
    )


def land(
    log: LogStore,
    change_id: ChangeId,
    number: int,
    *,
    touched: tuple[tuple[RepoPath, Seq], ...] = (),
    timestamp: datetime = NOW,
) -> Landing:
    """Lands on the head, as the queue does."""
    head = log.head_landing()
    return log.append_landing(
        change_id=change_id,
        version=number,
        agent_id=AGENT,
        root=TREE,
        previous_seq=head.seq if head else Seq(0),
        verified=True,
        attempt_id=AttemptId(7),
        timestamp=timestamp,
        touched=touched,
    )


def append(log: LogStore, *ops: NewOp, to: ChangeId = CHANGE, number: int = 1) -> list[Op]:
    """Appends operations as `AGENT`, now."""
    return log.append_ops(to, number, AGENT, ops, NOW)


# Any name that a filesystem has and UTF-8 can say, but few of them, so that they meet.
paths = st.sampled_from(
    [path(text) for text in ("a", "b", "dir/a", "dir/b", "dir/ü 'x\"", "dir-2/a", "\n", "目/𝄞")]
)
moments = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(2400, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
hashes = st.integers(0, 9).map(blob_hash)
entries = st.builds(FileEntry, hashes, st.sampled_from(Mode), st.integers(0, 2**62))
seqs = st.integers(0, 2**63 - 1).map(Seq)
processes = st.builds(
    Provenance, st.integers(0, 2**22), st.text(max_size=15), st.integers(0, 2**32 - 1)
)


@st.composite
def new_ops(draw: st.DrawFn) -> NewOp:
    """Operations with every field that their type allows."""
    op_type = draw(st.sampled_from(OpType))
    has_source = op_type in (OpType.RENAME, OpType.COPY) or (
        # A save through a temporary file.
        op_type is OpType.MODIFY and draw(st.booleans())
    )
    return NewOp(
        op_type=op_type,
        path=draw(paths),
        entry=None if op_type is OpType.DELETE else draw(entries),
        old_path=draw(paths) if has_source else None,
        base=draw(st.none() | entries),
        base_seq=draw(seqs),
        replaced=draw(st.none() | entries),
        directory_rename=draw(st.none() | st.tuples(paths, paths)),
        process=draw(st.none() | processes),
        recovered=draw(st.booleans()),
        moved_from=draw(st.none() | seqs),
        diff_hash=draw(st.none() | hashes),
    )
