"""Appends operations until it is killed, printing each once it is committed; run by a test.

Arguments: the database, the blobs' directory, how many operations a transaction has.
"""

import sys
from pathlib import Path

from pwfs.model.entries import FileEntry, Mode
from pwfs.model.ops import NewOp, OpType
from pwfs.model.paths import RepoPath
from pwfs.store.blobs import FileBlobStore
from pwfs.store.sqlite_log import SqliteLog
from tests.store.samples import AGENT, CHANGE, NOW


def main() -> None:
    log, blobs = SqliteLog(Path(sys.argv[1])), FileBlobStore(Path(sys.argv[2]))
    size = int(sys.argv[3])
    number = 0
    while True:
        ops = []
        for _ in range(size):
            number += 1
            content = b"content %d" % number
            entry = FileEntry(blobs.put(content), Mode.FILE, len(content))
            ops.append(NewOp(OpType.CREATE, RepoPath(f"f{number}"), entry))
        for op in log.append_ops(CHANGE, 1, AGENT, ops, NOW):
            sys.stdout.write(f"{op.id} {op.content_hash}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
