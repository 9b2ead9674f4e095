"""Puts the routes together to the application that both servers share."""

from quart import Response
from quart_trio import QuartTrio
from werkzeug.routing import PathConverter

from pwfs_daemon.web import (
    answers,
    blobs,
    changes,
    config,
    events,
    foresight,
    log,
    openapi,
    problems,
    queue,
    status,
    transport,
    views,
    workspaces,
)
from pwfs_daemon.web.services import SERVICES_KEY, Services

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS = "Authorization, Content-Type, If-None-Match, Last-Event-ID"


class _FilePath(PathConverter):
    """The rest of an address, whatever it holds: a file's name may have line breaks."""

    regex = "(?s:[^/].*?)"
    part_isolating = False


def create_application(services: Services) -> QuartTrio:
    """Builds the application; it keeps no state of its own."""
    application = QuartTrio("pwfs_daemon.web", static_folder=None)
    application.config[SERVICES_KEY] = services
    # Streams last as long as somebody listens, and a large merge takes its time.
    application.config["RESPONSE_TIMEOUT"] = None
    application.config["BODY_TIMEOUT"] = 600
    application.config["MAX_CONTENT_LENGTH"] = blobs.BLOB_SIZE_BYTES_MAX
    # A doubled slash in a file's path is an error to report, not to redirect away.
    application.url_map.merge_slashes = False
    application.url_map.converters["path"] = _FilePath
    application.url_map.strict_slashes = False
    application.before_request(answers.take_body)
    application.before_request(transport.authenticate)
    application.after_request(_allow_browsers)
    problems.install(application)
    modules = (
        *(status, log, changes, views, workspaces, queue, foresight),
        *(blobs, events, config, openapi),
    )
    for module in modules:
        application.register_blueprint(module.routes, url_prefix="/api")
    return application


async def _allow_browsers(response: Response) -> Response:
    """Opens the API to pages from anywhere; without credentials of the browser's own."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
    response.headers["Access-Control-Expose-Headers"] = "ETag, WWW-Authenticate"
    return response
