"""Settings in ``config.toml``, kept with their comments and checked on every write."""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pwfs.model.errors import Corrupt, InvalidArgument, InvalidPath
from pwfs.model.paths import RepoPath, is_under, parse_path
from pwfs.model.targets import PathTargets, Rule, RuleKind
from pwfs.submit.line import Policy


@dataclass(frozen=True, slots=True)
class Config:
    """All settings with their defaults; the file has them with dashes (``test-cmd``).

    ``test_cmd`` is run by the queue through ``/bin/sh -c`` in ``test_dir`` of a mounted view and
    may take ``test_timeout_s``, or less: the time of the slowest but for one in 20 of those that
    passed, and ``test_timeout_margin`` percent of it (0: only the first counts). Its processes may
    have ``test_memory_mb`` of memory together (0: any). A failed test is repeated ``retries`` times.
    ``max_speculative`` entries are tested at once, chosen by ``queue_policy``;
    ``max_queued_per_agent`` may wait (0: any number). Of equal priority, the items of those agents
    who have any land in turn with ``fair_share``. An item gains a level of priority whenever
    ``queue_ageing`` others have landed (0: never).
    ``warm_scratch`` are directories, one a line, that a test may find as an earlier one left them.
    ``target_paths`` or ``target_cmd``, which may take ``target_timeout_s``, tells the targets of
    changes: those without a common one are independent (`pwfs.model.targets`).
    Files above ``max_blob_mb`` stay with their workspace.
    """

    test_cmd: str = ""
    test_dir: str = "."
    test_timeout_s: int = 3600
    max_speculative: int = 1
    queue_policy: str = Policy.WINDOW
    retries: int = 0
    test_timeout_margin: int = 0
    test_memory_mb: int = 0
    max_queued_per_agent: int = 0
    warm_scratch: str = ""
    queue_ageing: int = 20
    fair_share: bool = False
    target_paths: str = ""
    target_cmd: str = ""
    target_timeout_s: int = 60
    max_blob_mb: int = 100
    http_addr: str = "127.0.0.1:8080"

    @property
    def max_blob_bytes(self) -> int:
        """The size above which a file is not logged."""
        return self.max_blob_mb * 1024 * 1024

    @property
    def warm_paths(self) -> tuple[RepoPath, ...]:
        """The directories that ``warm_scratch`` names, in order, each once."""
        lines = (line.strip() for line in self.warm_scratch.splitlines())
        return tuple(sorted({parse_path(line.rstrip("/")) for line in lines if line}))

    @property
    def rule(self) -> Rule | None:
        """The declared rule of independence; None: nothing is independent."""
        if self.target_paths.strip():
            return Rule(RuleKind.PATHS, self.target_paths)
        return Rule(RuleKind.COMMAND, self.target_cmd) if self.target_cmd.strip() else None


_MINIMA = {"max_speculative": 1, "test_timeout_s": 1, "max_blob_mb": 1, "target_timeout_s": 1}
"""Of the numbers that may not be 0."""
_SWITCHES = {"true": True, "false": False}


def _check_warm(key: str, value: str) -> None:
    try:
        paths = Config(warm_scratch=value).warm_paths
    except InvalidPath as error:
        raise InvalidArgument(name=key, reason=str(error)) from error
    for above in paths:
        if any(is_under(path, above) for path in paths):
            raise InvalidArgument(name=key, reason=f"has a directory inside of {above}, too")


def load_config(path: Path) -> Config:
    """Reads the settings; a missing file means the defaults.

    Raises:
        Corrupt: the file is no TOML.
        InvalidArgument: a key or a value is unknown.
    """
    try:
        document = tomlkit.parse(path.read_text())
    except FileNotFoundError:
        return Config()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise Corrupt(what=f"{path} cannot be read: {error}") from error
    config = Config()
    for key, value in document.unwrap().items():
        config = with_setting(config, key, value)
    return config


def with_setting(config: Config, key: str, value: object) -> Config:
    """Changes one setting, given as text or as its own type.

    Raises:
        InvalidArgument: no such key, or not a value for it.
    """
    name = key.replace("-", "_")
    known = {field.name: field.type for field in fields(Config)}
    if name not in known:
        choices = ", ".join(sorted(field.replace("_", "-") for field in known))
        raise InvalidArgument(name=key, reason=f"there is no such setting; there are: {choices}")
    if known[name] is bool:
        if str(value).lower() not in _SWITCHES:
            raise InvalidArgument(name=key, reason="must be true or false")
        value = _SWITCHES[str(value).lower()]
    elif known[name] is int:
        try:
            value = int(str(value))
        except ValueError:
            raise InvalidArgument(name=key, reason=f"{value!r} is not a whole number") from None
        if value < (minimum := _MINIMA.get(name, 0)):
            raise InvalidArgument(name=key, reason=f"must be at least {minimum}")
    elif not isinstance(value, str) or "\0" in value:
        raise InvalidArgument(name=key, reason="must be text")
    if name == "test_dir" and (str(value).startswith("/") or ".." in str(value).split("/")):
        raise InvalidArgument(name=key, reason="must be a directory inside the code base")
    if name == "queue_policy" and value not in set(Policy):
        raise InvalidArgument(name=key, reason=f"must be one of {', '.join(sorted(Policy))}")
    if name == "http_addr":
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise InvalidArgument(name=key, reason="must be HOST:PORT")
    if name == "warm_scratch":
        _check_warm(key, str(value))
    if name in ("target_paths", "target_cmd"):
        _check_rule(config, name, str(value))
    changes: dict[str, Any] = {name: value}
    return replace(config, **changes)


def _check_rule(config: Config, name: str, value: str) -> None:
    """Refuses a rule of independence that cannot be read, and a second one beside the first."""
    key, other = name.replace("_", "-"), "target_cmd" if name == "target_paths" else "target_paths"
    if value.strip() and str(getattr(config, other)).strip():
        first = other.replace("_", "-")
        raise InvalidArgument(name=key, reason=f"{first} is set; set that to '' first")
    if name == "target_paths":
        try:
            PathTargets.parse(value)
        except ValueError as error:
            raise InvalidArgument(name=key, reason=str(error)) from None


def save_setting(path: Path, key: str, value: object) -> None:
    """Writes one checked setting, leaving the rest of the file as it is."""
    document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
    document[key.replace("_", "-")] = value
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(tomlkit.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def settings(config: Config) -> dict[str, object]:
    """All settings by the names users give them."""
    return {field.name.replace("_", "-"): getattr(config, field.name) for field in fields(config)}
