"""The mount: main, its moments, views and workspaces as directories. Only here is pyfuse3 known."""

# Before anything here imports pyfuse3: the library stands between it and libfuse.
from pwfs.fs import native as native
