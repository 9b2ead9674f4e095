"""The `patchwork` command: talks to the daemon, and starts it when it is not running.

Starting has to be quick, so what only some commands need (HTTP, JSON, the repository) is imported
inside the functions that need it.
"""

__version__ = "0.1.0"
