"""Patchwork's daemon: the mount, the web API and the queue runner under one supervisor."""

__version__ = "0.1.0"
