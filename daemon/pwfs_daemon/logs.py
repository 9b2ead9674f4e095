"""Where the daemon's log goes: the terminal in the foreground, ``.patchwork/daemon.log`` otherwise."""

import logging
import logging.handlers
import sys
from pathlib import Path

import structlog

LOG_NAME = "daemon.log"
LOG_SIZE_BYTES_MAX = 10_000_000
LOG_BACKUPS = 3

_render_line = structlog.processors.LogfmtRenderer(
    key_order=["timestamp", "level", "event"], bool_as_flag=False
)


def configure_logs(file: Path | None) -> None:
    """Sends structlog's and the standard library's records to one place, a line each."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=LOG_SIZE_BYTES_MAX, backupCount=LOG_BACKUPS, encoding="utf-8"
        )
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _render(
    logger: structlog.typing.WrappedLogger, name: str, record: structlog.typing.EventDict
) -> str:
    """Writes one line, and below it the traceback as a person reads it."""
    traceback = record.pop("exception", None)
    line = _render_line(logger, name, record)
    return f"{line}\n{traceback}" if traceback else line
