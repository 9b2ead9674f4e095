"""``/api/config``: the settings in ``.patchwork/config.toml``."""

from quart import Blueprint, Response

from pwfs_daemon.web.answers import Body, answer, read_body
from pwfs_daemon.web.openapi import takes
from pwfs_daemon.web.services import repository, services

routes = Blueprint("config", __name__)


class Setting(Body):
    """A new value, as text or as its own type."""

    value: str | int | bool


@routes.get("/config")
async def get_config() -> Response:
    """Shows all settings."""
    return answer(repository().settings())


@routes.put("/config/<key>")
@takes(Setting)
async def put_setting(key: str) -> Response:
    """Changes one setting and shows all."""
    setting = await read_body(Setting)
    found = repository().set_setting(key, setting.value)
    await services().settled()
    return answer(found)
