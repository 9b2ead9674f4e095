"""What one daemon leaves to the next, so that programs in the mount notice nothing.

A daemon that restarts in its place keeps the descriptor of /dev/fuse and of every open file, and
writes down which inodes and handles the kernel knows. The next one, in the same process after
exec(2), puts the same nodes back under the same numbers. Requests that come in between wait in the
kernel.

Nothing is derived from the log here: what a node is stands in the record. Whoever reads one of
another `FORMAT` refuses it, and mounts anew.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from pwfs.fs.attributes import Attrs
from pwfs.fs.content import Content, Handle
from pwfs.fs.gathering import Gathering
from pwfs.fs.linking import Linking
from pwfs.fs.live import LiveSpace
from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.resolving import Resolving
from pwfs.fs.spaces import Collection, Space
from pwfs.fs.writing import Writing
from pwfs.model.entries import FileEntry
from pwfs.model.errors import HandoverRefused
from pwfs.model.paths import RepoPath

FORMAT = 4
_T = TypeVar("_T")
_Fields = dict[str, Any]


class KeptSpace(msgspec.Struct):
    """A space that was open: its place in the mount, and when its directories changed."""

    place: str
    started_ns: int
    changed_ns: dict[RepoPath, int]


class KeptNode(msgspec.Struct):
    """An inode that the kernel, or an open handle, holds.

    ``names`` are the numbers of directories and the name in each; a space's root has none.
    """

    ino: int
    place: str
    kind: int
    lookups: int
    names: list[tuple[int, str]]
    entry: FileEntry | None = None
    attrs: Attrs | None = None
    content: _Fields | None = None
    stale: list[RepoPath] | None = None
    fresh: bool = False
    fresh_names: list[str] | None = None
    identity: tuple[int, int] | None = None
    remains: int | None = None
    readers: int = 0
    version: int = 0
    gathering: Gathering | None = None


class KeptHandle(msgspec.Struct):
    """An open file: its number, the inode, and the rest of `Handle`."""

    number: int
    ino: int
    rest: _Fields


class KeptState(msgspec.Struct):
    """All that the kernel knows by number; open directories are the inodes' numbers by their own."""

    spaces: list[KeptSpace]
    nodes: list[KeptNode]
    handles: list[KeptHandle]
    directories: dict[int, int]
    next_handle: int


class Handover(msgspec.Struct):
    """Everything that is handed over; descriptors are inherited under their numbers.

    ``connection`` is what the kernel introduced itself with (see `pwfs.fs.native`), ``guard`` the
    process that guards the mount, by its number and the pipe to it.
    """

    format: int
    mountpoint: str
    fuse_fd: int
    connection: tuple[int, int, int]
    guard: tuple[int, int]
    state: KeptState

    def descriptors(self) -> Iterator[int]:
        """All descriptors that must be inherited."""
        yield self.fuse_fd
        yield self.guard[1]
        for node in self.state.nodes:
            if node.content is not None:
                yield int(node.content["fd"])
            if node.remains is not None:
                yield node.remains


def encode(handover: Handover) -> bytes:
    """Writes it down."""
    return msgspec.msgpack.encode(handover, enc_hook=_encoded)


def decode(data: bytes) -> Handover:
    """Reads it back.

    Raises:
        HandoverRefused: another version of Patchwork wrote it.
    """
    try:
        if msgspec.msgpack.decode(data)["format"] == FORMAT:
            return msgspec.msgpack.decode(data, type=Handover, dec_hook=_decoded)
    except (KeyError, TypeError, msgspec.MsgspecError) as error:
        raise HandoverRefused(reason=f"the record is not understood ({error})") from error
    raise HandoverRefused(reason="the earlier daemon was of another version")


# Writing down


def keep_nodes(table: NodeTable) -> tuple[list[KeptSpace], list[KeptNode]]:
    """Writes down every node: directories from the top down, then what is in any of them."""
    nodes = sorted((node for node in table if not node.space.is_gone), key=_order)
    spaces: dict[str, KeptSpace] = {}
    for node in nodes:
        space = node.space
        if space.place not in spaces:
            changed = space.changed_ns if isinstance(space, LiveSpace) else {}
            spaces[space.place] = KeptSpace(space.place, space.started_ns, changed)
    return list(spaces.values()), [_kept(node) for node in nodes]


def _order(node: Node) -> tuple[bool, int]:
    # A file may have a name in a directory that is deeper than its first one.
    is_file, depth = not node.is_directory, 0
    while node.parent is not None:
        node = node.parent
        depth += 1
    return is_file, depth


def _kept(node: Node) -> KeptNode:
    node.revoke()
    return KeptNode(
        ino=node.ino,
        place=node.space.place,
        kind=node.kind,
        lookups=node.lookups,
        names=[(directory.ino, name) for directory, name in node.names()],
        entry=node.entry,
        attrs=node.attrs,
        content=keep_content(node.content) if node.content is not None else None,
        stale=node.stale,
        fresh=node.fresh,
        fresh_names=sorted(node.fresh_names) if node.fresh_names is not None else None,
        identity=node.identity,
        remains=node.remains,
        readers=node.readers,
        version=node.version,
        gathering=node.gathering,
    )


def keep_content(content: Content) -> _Fields:
    """Writes down what is behind a file; a large one that grows is hashed as a whole at its end."""
    return _fields(content, {"busy", "growth"})


def keep_handle(number: int, handle: Handle) -> KeptHandle:
    """Writes down an open file."""
    return KeptHandle(number, handle.node.ino, _fields(handle, {"node"}))


def _fields(value: Any, left_out: set[str]) -> _Fields:
    """The fields of a dataclass as plain values."""
    return {
        field.name: msgspec.to_builtins(getattr(value, field.name), enc_hook=_encoded)
        for field in dataclasses.fields(value)
        if field.name not in left_out
    }


# Putting back


def restore_nodes(
    table: NodeTable, spaces: Mapping[str, Space], kept: Iterable[KeptNode]
) -> dict[int, Node]:
    """Puts the nodes back; those of spaces that are gone are left out, and stale for the kernel.

    Raises:
        HandoverRefused: a number is another node's.
    """
    nodes: dict[int, Node] = {}
    for record in kept:
        space = spaces.get(record.place)
        if space is not None:
            nodes[record.ino] = _restored(table, space, record, nodes)
    return nodes


def _restored(table: NodeTable, space: Space, record: KeptNode, nodes: Mapping[int, Node]) -> Node:
    root = space.root
    if not record.names and record.ino == root.ino:
        root.lookups = record.lookups
        _restore_fields(root, record)
        return root
    node = Node(space, Kind(record.kind), None, "")
    table.add(node, record.ino)
    if node.ino != record.ino:
        raise HandoverRefused(reason=f"inode {record.ino} is another's")
    for directory_ino, name in record.names:
        directory = nodes.get(directory_ino)
        if directory is not None:
            node.attach(directory, name)
    node.lookups = record.lookups
    _restore_fields(node, record)
    return node


def _restore_fields(node: Node, record: KeptNode) -> None:
    node.entry = record.entry
    node.stale = record.stale
    node.fresh = record.fresh
    node.fresh_names = set(record.fresh_names) if record.fresh_names is not None else None
    node.identity = record.identity
    node.remains = record.remains
    node.version, node.gathering = record.version, record.gathering
    node.space.table.grants.take_back(node, record.readers)
    if node.remains is not None:
        os.set_inheritable(node.remains, False)
    node.attrs = record.attrs
    space = node.space
    if isinstance(space, Resolving) and node.attrs is not None and node.is_attached:
        # One object for the node and the row, which is in the database already.
        row = space.rows.get(node.path)
        node.attrs = row if row is not None else node.attrs
        if isinstance(space, Linking) and node.extra:
            space.share_row(node)
    if record.content is None:
        return
    node.content = _rebuilt(Content, record.content)
    os.set_inheritable(node.content.fd, False)
    if isinstance(space, Writing):
        space.note_open(node)
        if node.content.is_dirty:
            space.on_dirty(node)


def restore_handle(kept: KeptHandle, node: Node) -> Handle:
    """Puts an open file back."""
    node.handles += 1
    return _rebuilt(Handle, {**kept.rest}, node=node)


def _rebuilt(kind: type[_T], plain: _Fields, **given: object) -> _T:
    hints = get_type_hints(kind)
    values = {
        name: msgspec.convert(value, hints[name], dec_hook=_decoded)
        for name, value in plain.items()
        if name in hints
    }
    return kind(**values, **given)


def restore_spaces(top: Collection, kept: Iterable[KeptSpace]) -> dict[str, Space]:
    """Opens the spaces that were open, by their places in the mount; those gone are left out."""
    found: dict[str, Space] = {}
    for record in sorted(kept, key=lambda record: record.place.count("/")):
        space = _opened(top, record.place)
        if space is None:
            continue
        space.started_ns = record.started_ns
        if isinstance(space, LiveSpace):
            space.changed_ns.update(record.changed_ns)
        found[record.place] = space
    return found


def _opened(top: Collection, place: str) -> Space | None:
    space: Space = top
    for name in place.split("/") if place else ():
        assert isinstance(space, Collection)
        node = space.child(space.root, name)
        if node is None:
            return None
        space = node.space
    return space


def _encoded(value: object) -> object:
    if isinstance(value, Path):
        return os.fspath(value)
    raise NotImplementedError(type(value))


def _decoded(kind: type, value: object) -> object:
    if issubclass(kind, Path):
        return Path(str(value))
    raise NotImplementedError(kind)
