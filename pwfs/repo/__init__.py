"""The repository: everything a door, the mount or the queue may ask of a code base."""

from pwfs.repo.layout import find_repository
from pwfs.repo.repository import Repository

__all__ = ["Repository", "find_repository"]
