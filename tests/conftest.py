"""What holds for every test: time limits, a quiet log, and a seed to repeat a random run with.

The limit per test is pyproject.toml's; here soak tests get a longer one. Everything the code logs,
through structlog or the standard library, is watched: a record at WARNING or above that the test did
not announce with ``@pytest.mark.allow_log("pattern")`` fails it.
"""

import functools
import inspect
import logging
import os
import random
import re
import threading
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import pytest
import structlog
import trio

SOAK = os.environ.get("PATCHWORK_SOAK") == "1"
SOAK_TIMEOUT_S = 6 * 3600 if SOAK else 600

# Mounts and daemons make a single example's duration meaningless; the limit per test remains.
hypothesis.settings.register_profile("patchwork", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "patchwork-soak", parent=hypothesis.settings.get_profile("patchwork"), max_examples=5000
)
hypothesis.settings.load_profile("patchwork-soak" if SOAK else "patchwork")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Chooses hypothesis's seed before its plugin looks for one, so that the header can name it."""
    if config.getoption("hypothesis_seed") is None:
        chosen = str(random.SystemRandom().getrandbits(32))
        given: dict[str, str] = getattr(config, "workerinput", {})
        config.option.hypothesis_seed = given.get("hypothesis_seed", chosen)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Has all processes of a run use the seed that its header names."""
    node.workerinput["hypothesis_seed"] = node.config.getoption("hypothesis_seed")


def pytest_report_header(config: pytest.Config) -> str:
    """Names the seed."""
    seed = config.getoption("hypothesis_seed")
    return f"hypothesis seed: {seed} (repeat with --hypothesis-seed={seed})"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Repeats the seed where the failures are read."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(pytest_report_header(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives soak tests without a limit of their own a longer one, and async tests a gentler one."""
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT_S))
        limit_s = _limit_s(item)
        if isinstance(item, pytest.Function) and limit_s and inspect.iscoroutinefunction(item.obj):
            item.obj = _cancelled_after(limit_s * 0.9, item.obj)


def _limit_s(item: pytest.Item) -> float:
    """The test's limit as pytest-timeout will find it; 0 for none."""
    mark = item.get_closest_marker("timeout")
    if mark is not None:
        return float(mark.args[0] if mark.args else mark.kwargs["timeout"])
    chosen = item.config.getoption("timeout")
    return float(item.config.getini("timeout") if chosen is None else chosen)


def _cancelled_after(
    limit_s: float, test: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """Cancels a hanging async test a little before pytest-timeout's signal.

    The signal's exception would be raised inside trio's scheduler, which fails every later async
    test too. The time is the wall clock's: a test may jump trio's.
    """

    @functools.wraps(test)
    async def limited(**fixtures: object) -> None:
        token = trio.lowlevel.current_trio_token()
        task = trio.lowlevel.current_task()
        stack = traceback.StackSummary()
        with trio.CancelScope() as scope:

            def stop() -> None:
                stack.extend(traceback.StackSummary.extract(task.iter_await_frames()))
                scope.cancel()

            alarm = threading.Timer(limit_s, token.run_sync_soon, [stop])
            alarm.start()
            try:
                await test(**fixtures)
            finally:
                alarm.cancel()
        if scope.cancelled_caught:
            where = "".join(traceback.format_list(stack))
            pytest.fail(f"still running after {limit_s:.1f} s:\n{where}", pytrace=False)

    return limited


class _StrayRecords(logging.Handler):
    """Collects what was logged at WARNING or above and matches none of the patterns."""

    def __init__(self, allowed: list[re.Pattern[str]]) -> None:
        super().__init__(logging.WARNING)
        self._allowed = allowed
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        if any(pattern.search(line) for pattern in self._allowed):
            return
        if record.exc_info:
            line += "\n" + logging.Formatter().formatException(record.exc_info)
        self.lines.append(line)


@contextmanager
def _quiet_log(item: pytest.Item) -> Iterator[None]:
    """Fails the phase of the test inside which something stray was logged."""
    marks = item.iter_markers("allow_log")
    handler = _StrayRecords([re.compile(pattern) for mark in marks for pattern in mark.args])
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
    if handler.lines:
        pytest.fail(
            "the log has warnings the test does not announce with allow_log:\n"
            + "\n".join(handler.lines),
            pytrace=False,
        )


def _log_through_logging() -> None:
    """Sends structlog's records to the standard library, where handlers and caplog see them."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Watches the log while fixtures are made."""
    if trio.lowlevel.in_trio_run():
        pytest.exit("the test before hung where trio cannot cancel it; after it none can run", 1)
    _log_through_logging()
    with _quiet_log(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Watches the log while the test runs."""
    with _quiet_log(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Watches the log while fixtures are taken down."""
    with _quiet_log(item):
        return (yield)
