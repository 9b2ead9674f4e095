"""On which FUSE mount a directory stands, and where in it, without asking the filesystem.

Kept to what an interpreter has loaded anyway: git's hook waits for it.
"""

MOUNTS = "/proc/self/mountinfo"
_WORKSPACES = "/ws/"


class Standing:
    """A place on a FUSE mount: the mount's ``major:minor``, and the path from its top."""

    def __init__(self, device: str, path: str) -> None:
        self.device = device
        self.path = path

    @property
    def workspace(self) -> tuple[str, str] | None:
        """The workspace's id and the path in it, if it is in one of Patchwork's workspaces."""
        if not self.path.startswith(_WORKSPACES):
            return None
        id_, _, below = self.path[len(_WORKSPACES) :].partition("/")
        return id_, below


def standing_on(path: str) -> Standing | None:
    """Tells where a path stands, None if that is no FUSE mount.

    ``path`` is absolute and without symbolic links. A bind mount of a part of the mount counts.
    """
    best, found = "", None
    with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
        for line in lines:
            fields = line.split(" ")
            point = _unescape(fields[4]).rstrip("/")
            is_above = path == point or path.startswith(point + "/")
            # A later line covers an earlier one at the same place.
            if is_above and len(point) >= len(best):
                is_fuse = fields[fields.index("-") + 1].startswith("fuse")
                top = _unescape(fields[3]).rstrip("/")
                best, found = (
                    point,
                    (Standing(fields[2], top + path[len(point) :]) if is_fuse else None),
                )
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
