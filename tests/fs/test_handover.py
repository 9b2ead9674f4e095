"""What a daemon writes down for the next one is all there is."""

import dataclasses
from pathlib import Path

from pwfs.fs.content import Content, Handle
from pwfs.fs.growing import Growth
from pwfs.fs.handover import KeptHandle, KeptNode, keep_content, keep_handle
from pwfs.fs.nodes import Kind, Node, NodeTable
from pwfs.fs.spaces import Space


def test_every_field_of_a_node_is_kept_or_made_anew() -> None:
    """A field that is added to `Node` must be handed over, or be one of those that need not be."""
    kept = set(KeptNode.__struct_fields__)
    made_anew = {"cached_path", "children", "extra", "handles", "name", "parent", "space"}
    recounted = {"granted", "subdirectories"}
    assert set(Node.__slots__) == (kept - {"names", "place"}) | made_anew | recounted


def test_an_open_file_is_kept_whole() -> None:
    """Every field of `Handle` and `Content` can be written down, but for what is made anew."""
    node = Node(Space("x", NodeTable()), Kind.FILE, None, "")
    handle = Handle(node, 0, 1)
    kept = keep_handle(7, handle)
    assert isinstance(kept, KeptHandle)
    assert kept.rest.keys() == {field.name for field in dataclasses.fields(Handle)} - {"node"}
    content = Content(0, Path("working"), growth=Growth())
    fields = {field.name for field in dataclasses.fields(Content)}
    assert keep_content(content).keys() == fields - {"busy", "growth"}
