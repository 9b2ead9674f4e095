"""``/api/status``, ``/api/health``, ``/api/head``, ``/api/fsck`` and ``/api/verify``."""

import os

import trio
from quart import Blueprint, Response

from pwfs.repo.certifying import Verification
from pwfs.repo.checking import Check
from pwfs.repo.json import to_json
from pwfs_daemon import __version__
from pwfs_daemon.web.answers import answer
from pwfs_daemon.web.services import repository, services

routes = Blueprint("status", __name__)


@routes.get("/status")
async def get_status() -> Response:
    """Tells how the repository and its daemon are."""
    await services().captured()
    found = to_json(repository().status())
    assert isinstance(found, dict)
    daemon = {
        "pid": os.getpid(),
        "version": __version__,
        "mount": str(services().mount.mountpoint),
        "native": services().mount.is_native,
        "inodes": services().mount.inode_count,
        "open": services().mount.open_count,
        "http": services().http,
        "troubles": to_json(repository().health.troubles()),
    }
    return answer({**found, "daemon": daemon})


@routes.get("/health")
async def get_health() -> Response:
    """Tells what of the daemon's own work does not succeed for now. It waits for nothing."""
    troubles = repository().health.troubles()
    return answer({"status": "degraded" if troubles else "ok", "troubles": troubles})


@routes.get("/head")
async def get_head() -> Response:
    """Tells the last number that the counter gave out."""
    await services().captured()
    return answer({"seq": repository().head_seq()})


@routes.post("/fsck")
async def post_fsck() -> Response:
    """Recomputes what is derived and compares it with what is stored."""
    await services().captured()
    check = Check(repository())
    for step in check.steps():
        step()
        await trio.lowlevel.checkpoint()
    await trio.to_thread.run_sync(check.blobs)
    for step in check.last_steps():
        step()
        await trio.lowlevel.checkpoint()
    return answer(check.report)


@routes.post("/verify")
async def post_verify() -> Response:
    """Compares every landing with the certificate of its test."""
    verification = Verification(repository())
    for _ in verification.steps():
        await trio.lowlevel.checkpoint()
    return answer(verification.report)
