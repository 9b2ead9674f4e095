"""``/api/blobs``: contents by their SHA-256, streamed both ways."""

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio
from quart import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from pwfs.model.errors import InvalidArgument, NotFound, TooLarge
from pwfs.model.ids import BlobHash, is_hash
from pwfs.store.protocols import BlobStore
from pwfs_daemon.web.answers import answer
from pwfs_daemon.web.services import repository

routes = Blueprint("blobs", __name__)

BLOB_SIZE_BYTES_MAX = 100 * 1024 * 1024
CHUNK_SIZE_BYTES = 256 * 1024


@routes.post("/blobs")
async def post_blob() -> Response:
    """Stores the raw body; it is on disk when the answer comes."""
    repo = repository()
    declared = request.content_length
    if declared is not None and declared > BLOB_SIZE_BYTES_MAX:
        raise TooLarge(size_bytes=declared, size_bytes_max=BLOB_SIZE_BYTES_MAX)
    descriptor, name = tempfile.mkstemp(prefix="upload-", dir=repo.state_dir)
    file = Path(name)
    try:
        digest = hashlib.sha256()
        size = 0
        with os.fdopen(descriptor, "wb") as stream:
            try:
                async for chunk in request.body:
                    size += len(chunk)
                    if size > BLOB_SIZE_BYTES_MAX:
                        raise TooLarge(size_bytes=size, size_bytes_max=BLOB_SIZE_BYTES_MAX)
                    digest.update(chunk)
                    await trio.to_thread.run_sync(stream.write, chunk)
            except RequestEntityTooLarge:
                raise TooLarge(size_bytes=size, size_bytes_max=BLOB_SIZE_BYTES_MAX) from None
        content_hash = BlobHash(digest.hexdigest())
        await trio.to_thread.run_sync(partial(repo.blobs.adopt, file, content_hash, sync=True))
    finally:
        await trio.to_thread.run_sync(partial(file.unlink, missing_ok=True))
    return answer({"hash": content_hash, "size": size}, 201)


@routes.get("/blobs/<blob_hash>")
async def get_blob(blob_hash: str) -> Response:
    """Sends a content; it never changes, so a cache may keep it for good."""
    if not is_hash(blob_hash):
        raise InvalidArgument(name="hash", reason="must be 64 lower-case hexadecimal digits")
    known = BlobHash(blob_hash)
    blobs = repository().blobs
    if not blobs.has(known):
        raise NotFound(kind="blob", id=blob_hash)
    return await send_content(known)


async def send_content(
    content_hash: BlobHash, content_type: str = "application/octet-stream"
) -> Response:
    """Streams a stored content with its hash as ETag, or says that the asker has it already.

    Raises:
        BlobMissing, BlobDamaged: it cannot be sent; nothing of it was.
    """
    blobs = repository().blobs
    if content_hash in request.if_none_match:
        response = Response(b"", status=304)
    else:
        await trio.to_thread.run_sync(blobs.verify, content_hash)
        response = Response(_read(blobs, content_hash), content_type=content_type)
        response.content_length = blobs.size(content_hash)
    response.set_etag(content_hash)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def _read(blobs: BlobStore, content_hash: BlobHash) -> AsyncIterator[bytes]:
    descriptor = blobs.open(content_hash)
    try:
        offset = 0
        while chunk := await trio.to_thread.run_sync(
            os.pread, descriptor, CHUNK_SIZE_BYTES, offset
        ):
            offset += len(chunk)
            yield chunk
    finally:
        os.close(descriptor)
