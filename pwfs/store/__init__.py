"""What is kept: the log with all that hangs on it, and the contents of files.

Both stand behind protocols (`pwfs.store.protocols`), so that a repository that outgrows one machine
can move. Here they are one SQLite database and a directory of blobs.
"""
