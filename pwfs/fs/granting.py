"""Files that the native library answers programs about by itself (``native/grants.c``).

A node is granted while opening it for reading needs no decision and its bytes are at rest: those of
a blob, or a real file in scratch. Whoever is about to change the node's content, kind or last name
revokes that first; the files that are open by then count among the node's handles from there on.

A real file in scratch is written, too, and its attributes are read and set there (``ondisk.c``), and
a handle's end is answered before the daemon knows of it. It learns of both by `take_news`: before it
takes the next request, before it revokes, and before it tells anybody what changed.

A directory is granted while all that is in it is on disk: that nothing has a name there is answered
then, and what stat(2) shows of it. Whoever gives it a name that is not on disk revokes that first:
`Node.attach`, and `Resolving` where the view moves. So does who changes its attributes, but for the
times that come of names in it.

Of any other directory the library knows what stat(2) shows, from its listing on, after which the
kernel asks once more. That is revoked when its names or attributes change, or its own name.
"""

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyfuse3 import EntryAttributes

from pwfs.fs.native import CHANGED, LOOKED_UP, Granted, Library, Shown
from pwfs.store.verifying import GoodFile

if TYPE_CHECKING:
    from pwfs.fs.nodes import Node

_SECOND_NS = 1_000_000_000
_SOURCES_MAX = 4096
_SOURCES_SHARE = 4
HANDLE_OF_GRANT = 1 << 63
"""Set in the handles that the library gives out; the rest is the inode's number."""


class Grants:
    """What the library may answer; without one nothing."""

    def __init__(self) -> None:
        self._library: Library | None = None
        self._on_news: Callable[[int, int], None] | None = None
        self._left = 0

    def begin(self, library: Library, on_news: Callable[[int, int], None]) -> None:
        """Has the library answer from now on.

        ``on_news`` is told what `Library.take_news` returns.
        """
        self._library = library
        self._on_news = on_news
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        library.keep_sources(min(descriptors // _SOURCES_SHARE, _SOURCES_MAX))

    @property
    def are_given(self) -> bool:
        """Whether there is somebody to grant anything to."""
        return self._library is not None

    def grant(self, node: "Node", fd: int | None, good: GoodFile | None) -> None:
        """Lets a file be opened for reading without asking.

        It is read from a copy of ``fd``, or from the file of its content that was found good.
        """
        if self._library is None:
            return
        kind = Granted.AT_REST if node.identity is None else Granted.ON_DISK
        given = -1 if fd is None else fd
        if self._library.grant(node.ino, kind, given, opens=node.readers, good=good):
            node.granted = kind
            node.handles -= node.readers
            self._left -= node.readers
            node.readers = 0

    def grant_plain(self, node: "Node") -> None:
        """Has the library answer the kernel's question before each write, if the answer is no.

        Whoever gives the file an extended attribute revokes that; who writes need not.
        """
        has_any = node.attrs is not None and node.attrs.xattrs
        if self._library is None or node.granted is not None or has_any:
            return
        if self._library.grant(node.ino, Granted.PLAIN, -1):
            node.granted = Granted.PLAIN

    def grant_names(
        self, directory: "Node", fd: int, shown: EntryAttributes, *, atime_follows: bool
    ) -> None:
        """Lets names that are not in a directory on disk be looked up there, through ``fd``.

        ``shown`` is what stat(2) shows until `touched` tells that the times are others; of
        ``atime_follows`` see there.
        """
        self._grant_shown(directory, Granted.NAMES, fd, shown, atime_follows=atime_follows)

    def grant_shown(
        self, directory: "Node", shown: EntryAttributes, *, atime_follows: bool
    ) -> None:
        """Lets what stat(2) shows of a directory be asked for, until it is revoked, or `touched`."""
        self._grant_shown(directory, Granted.SHOWN, -1, shown, atime_follows=atime_follows)

    def _grant_shown(
        self,
        directory: "Node",
        kind: Granted,
        fd: int,
        shown: EntryAttributes,
        *,
        atime_follows: bool,
    ) -> None:
        if self._library is None or not self._library.grant(directory.ino, kind, fd):
            return
        directory.granted = kind
        times_ns = (shown.st_atime_ns, shown.st_mtime_ns, shown.st_ctime_ns)
        as_kernel_has_it = Shown(
            *(directory.ino, shown.st_size, shown.st_blocks),
            *(time_ns // _SECOND_NS for time_ns in times_ns),
            *(time_ns % _SECOND_NS for time_ns in times_ns),
            *(shown.st_mode, shown.st_nlink, shown.st_uid, shown.st_gid),
            blksize=shown.st_blksize,
        )
        self._library.show(directory.ino, as_kernel_has_it, atime_follows=atime_follows)

    def touched(self, directory: "Node", changed_ns: int) -> None:
        """Says that a name in a directory of a workspace changed: its times are that one now.

        The time of access too, where ``atime_follows``. If the name is a directory's, who gives or
        takes it revokes.
        """
        if directory.granted is not None and self._library is not None:
            self._library.touched(directory.ino, changed_ns)

    def revoke(self, node: "Node") -> None:
        """Ends that, before anything changes."""
        if node.granted is not None and self._library is not None:
            node.granted = None
            self.take_back(node, self._library.revoke(node.ino))
            self.take_news()

    def take_back(self, node: "Node", opens: int) -> None:
        """Counts files that are open by handles of the library among the node's own."""
        node.readers += opens
        node.handles += opens
        self._left += opens

    def released(self, node: "Node") -> None:
        """Takes note that a file was closed for which the library has no grant any more."""
        self.revoke(node)
        if node.readers:
            node.readers -= 1
            node.handles -= 1
            self._left -= 1

    def take_news(self) -> None:
        """Learns of what the library answered of what is in scratch."""
        if self._library is None or self._on_news is None:
            return
        news: list[tuple[int, int]] = []
        while more := self._library.take_news():
            news += more
        # What was looked up is not forgotten because something else was released.
        for are_releases in (False, True):
            for ino, what in news:
                if (what not in (CHANGED, LOOKED_UP)) is are_releases:
                    self._on_news(ino, what)

    def pass_on(self, pid: int) -> None:
        """Has the daemon asked about everything that one process opens; -1 for none."""
        if self._library is not None:
            self._library.pass_on(max(pid, 0))

    def __len__(self) -> int:
        """How many files are open by handles of the library."""
        return self._left + (self._library.granted_opens() if self._library is not None else 0)
