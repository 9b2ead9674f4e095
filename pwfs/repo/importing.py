"""How a repository begins: with a git checkout's tracked files, a directory's files, or empty."""

import functools
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pwfs.model.changes import Change, ChangeStatus, Version
from pwfs.model.entries import FileEntry, Mode
from pwfs.model.errors import InvalidArgument, InvalidPath, RepositoryExists
from pwfs.model.events import EventType
from pwfs.model.ids import AgentId, ChangeId, Seq
from pwfs.model.ignoring import IgnoreRules
from pwfs.model.ops import NewOp, OpType
from pwfs.model.paths import RESERVED_NAME, RepoPath, join, parse_path
from pwfs.repo.changes import check_agent
from pwfs.repo.layout import Layout, write_token
from pwfs.repo.repository import Repository
from pwfs.store.protocols import BlobStore
from pwfs.views.editor import TreeEditor
from pwfs.views.trees import EMPTY_TREE, EMPTY_TREE_BYTES

IMPORT_ID = ChangeId("initial-import")
CHUNK_BYTES = 1024 * 1024
_GITLINK = "160000"


@dataclass
class InitReport:
    """What `init` did: where from (``git``, ``directory`` or ``empty``), and how much.

    ``skipped`` tells of each path left out, and why.
    """

    directory: str
    source: str
    files: int = 0
    bytes: int = 0
    skipped: list[str] = field(default_factory=list)
    head_seq: int = 0


def init(directory: Path, *, agent: str) -> InitReport:
    """Makes a repository of a directory, which is created if it does not exist.

    On any failure nothing is left behind.

    Raises:
        RepositoryExists: it is one already.
        InvalidArgument: it is a file, or git cannot read its checkout.
        NoSpace: the disk is full.
    """
    who = check_agent(agent)
    if directory.exists() and not directory.is_dir():
        raise InvalidArgument(name="directory", reason=f"{directory} is not a directory")
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    layout = Layout(directory.resolve())
    try:
        layout.state.mkdir(mode=0o700)
    except FileExistsError:
        raise RepositoryExists(directory=str(directory)) from None
    try:
        report = _fill(layout, who)
    except BaseException:
        shutil.rmtree(layout.state, ignore_errors=True)
        if made:
            directory.rmdir()
        raise
    return report


def _fill(layout: Layout, agent: AgentId) -> InitReport:
    (layout.state / ".gitignore").write_text("*\n")
    write_token(layout.token)
    layout.work.mkdir()
    report = InitReport(str(layout.root), "empty")
    repository = Repository.open(layout.root, create=True)
    try:
        if _is_git_checkout(layout.root):
            report.source = "git"
            files = sorted(_from_git(layout.root, repository.blobs, report))
        else:
            files = sorted(_from_directory(layout.root, repository.blobs, report))
        repository.blobs.sync_all()
        if files:
            if report.source == "empty":
                report.source = "directory"
            _land_import(repository, files, agent)
        repository.log.sync()
        report.files = len(files)
        report.bytes = sum(entry.size for _, entry in files)
        report.head_seq = repository.log.head_seq()
    finally:
        repository.close()
    return report


def _land_import(
    repository: Repository, files: list[tuple[RepoPath, FileEntry]], agent: AgentId
) -> None:
    log, now = repository.log, repository.now()
    tree = TreeEditor(repository.trees, EMPTY_TREE)
    for path, entry in files:
        tree.set(path, entry)
    root, listings = tree.write()
    ops = [NewOp(op_type=OpType.CREATE, path=path, entry=entry) for path, entry in files]
    with repository.transaction():
        log.put_trees({EMPTY_TREE: EMPTY_TREE_BYTES, **listings})
        change = Change(
            id=IMPORT_ID,
            title="Initial import",
            author=agent,
            target="main",
            status=ChangeStatus.LANDED,
            current_version=1,
            versions=(),
            dependencies=(),
            metadata={},
            created_at=now,
            updated_at=now,
        )
        log.insert_change(change)
        rows = log.append_ops(IMPORT_ID, 1, agent, ops, now)
        numbers = tuple(Seq(row.id) for row in rows)
        log.insert_version(IMPORT_ID, Version(1, numbers, Seq(0), now, "Initial import"))
        landing = log.append_landing(
            change_id=IMPORT_ID,
            version=1,
            agent_id=agent,
            root=root,
            previous_seq=Seq(0),
            verified=False,
            attempt_id=None,
            timestamp=now,
        )
        repository.views_moved()
        repository.publish(
            EventType.CHANGE_LANDED,
            change_id=IMPORT_ID,
            version=1,
            seq=landing.seq,
            root=root,
            verified=False,
            agent_id=agent,
        )


# A git checkout's tracked files


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)


def _is_git_checkout(root: Path) -> bool:
    """Whether the directory is the top of a checkout with a commit; a broken one is refused later."""
    if not (root / ".git").exists():
        return False
    if shutil.which("git") is None:
        raise InvalidArgument(
            name="directory", reason="is a git checkout, but git is not installed"
        )
    inside = _git(root, "rev-parse", "--git-dir")
    if inside.returncode:
        reason = inside.stderr.decode("utf-8", "replace").strip()
        raise InvalidArgument(name="directory", reason=f"git cannot read it: {reason}")
    return _git(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode == 0


def _from_git(
    root: Path, blobs: BlobStore, report: InitReport
) -> Iterator[tuple[RepoPath, FileEntry]]:
    """Reads the tracked files of HEAD out of git's own store, by one long-lived process."""
    listing = _git(root, "ls-tree", "-r", "-z", "--full-tree", "HEAD")
    if listing.returncode:
        reason = listing.stderr.decode("utf-8", "replace").strip()
        raise InvalidArgument(name="directory", reason=f"git cannot list HEAD: {reason}")
    wanted: list[tuple[RepoPath, Mode, bytes]] = []
    for row in filter(None, listing.stdout.split(b"\0")):
        meta, _, raw_path = row.partition(b"\t")
        mode_text, _, object_id = meta.decode().split(" ")
        path = _checked(raw_path, report)
        if path is None:
            continue
        if mode_text == _GITLINK:
            report.skipped.append(f"{path}: a submodule")
            continue
        wanted.append((path, _git_mode(mode_text), object_id.encode()))
    with ThreadPoolExecutor(max_workers=2) as pool:
        half = (len(wanted) + 1) // 2
        parts = [wanted[:half], wanted[half:]]
        for part in pool.map(lambda rows: _read_objects(root, blobs, rows), parts):
            yield from part


def _read_objects(
    root: Path, blobs: BlobStore, wanted: list[tuple[RepoPath, Mode, bytes]]
) -> list[tuple[RepoPath, FileEntry]]:
    """Reads contents by one git process, which takes the names from a file, not one by one."""
    found = []
    command = ["git", "-C", str(root), "cat-file", "--batch", "--buffer"]
    with tempfile.TemporaryFile() as names:
        names.writelines(object_id + b"\n" for _, _, object_id in wanted)
        names.seek(0)
        process = subprocess.Popen(
            command, stdin=names, stdout=subprocess.PIPE, bufsize=CHUNK_BYTES
        )
    with process:
        assert process.stdout is not None
        for path, mode, _ in wanted:
            header = process.stdout.readline().split()
            if len(header) != 3 or header[1] != b"blob":
                raise InvalidArgument(
                    name="directory", reason=f"git has no content for {path}; fetch it first"
                )
            size = int(header[2])
            content = process.stdout.read(size)
            process.stdout.read(1)
            found.append((path, FileEntry(blobs.put(content), mode, size)))
    return found


def _git_mode(text: str) -> Mode:
    """Git's mode as ours; ancient trees have group-writable files."""
    if text == Mode.SYMLINK.text:
        return Mode.SYMLINK
    return Mode.EXECUTABLE if int(text, 8) & 0o100 else Mode.FILE


def _checked(raw: bytes, report: InitReport) -> RepoPath | None:
    try:
        return parse_path(raw.decode())
    except UnicodeDecodeError:
        report.skipped.append(f"{raw!r}: the name is not UTF-8")
    except InvalidPath as error:
        report.skipped.append(f"{error.path}: {error.reason}")
    return None


# A directory's files


def _from_directory(
    root: Path, blobs: BlobStore, report: InitReport
) -> Iterable[tuple[RepoPath, FileEntry]]:
    def find(path: RepoPath) -> Path | None:
        file = root / path
        return file if file.is_file() and not file.is_symlink() else None

    rules = IgnoreRules(functools.cache(find), Path.read_bytes)
    return _scan(root, RepoPath(""), blobs, rules, report)


def _scan(
    root: Path, directory: RepoPath, blobs: BlobStore, rules: IgnoreRules[Path], report: InitReport
) -> Iterator[tuple[RepoPath, FileEntry]]:
    with os.scandir(os.fsencode(root / directory)) as rows:
        entries = sorted(rows, key=lambda row: row.name)
    for row in entries:
        if not directory and row.name == os.fsencode(RESERVED_NAME):
            continue
        try:
            path = parse_path(join(directory, row.name.decode()))
        except (UnicodeDecodeError, InvalidPath):
            report.skipped.append(f"{os.fsdecode(row.path)}: not a name that can be versioned")
            continue
        is_directory = row.is_dir(follow_symlinks=False)
        if rules.is_ignored(path, is_directory=is_directory):
            continue
        if is_directory:
            yield from _scan(root, path, blobs, rules, report)
        elif row.is_symlink():
            target = os.fsencode(Path(os.fsdecode(row.path)).readlink())
            yield path, FileEntry(blobs.put(target), Mode.SYMLINK, len(target))
        elif row.is_file(follow_symlinks=False):
            found = row.stat(follow_symlinks=False)
            mode = Mode.EXECUTABLE if found.st_mode & stat.S_IXUSR else Mode.FILE
            with Path(os.fsdecode(row.path)).open("rb") as file:
                name, size = blobs.put_stream(_chunks(file), size_bytes_max=1 << 62)
            yield path, FileEntry(name, mode, size)
        else:
            report.skipped.append(f"{path}: neither a file, a directory nor a link")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
