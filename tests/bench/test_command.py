"""What the command line of the benchmarks says."""

import pytest

from bench.__main__ import NAMES, read


@pytest.mark.parametrize(
    "line",
    [
        "mount find open --rounds 2 --quick",
        "mount --rounds 2 find --quick open",
        "--quick --rounds 2 find open",
    ],
)
def test_names_and_options_come_in_any_order(line: str) -> None:
    """Rows stand before, between and behind the options; naming one is enough."""
    asked = read(line.split())
    assert asked.names == ("mount",)
    assert asked.options.rows == ("find", "open")
    assert (asked.options.rounds, asked.options.quick) == (2, True)


def test_a_scenario_names_the_queue() -> None:
    """Naming a scenario is enough, with as many traces as asked for."""
    asked = read(["uber", "--seeds", "3", "flakes"])
    assert asked.names == ("queue",)
    assert asked.options.scenarios == ("uber", "flakes")
    assert asked.options.seeds == 3


def test_nothing_named_is_everything() -> None:
    """Options alone leave all benchmarks."""
    asked = read(["--quick"])
    assert asked.names == NAMES
    assert asked.options.rows == ()


@pytest.mark.parametrize("line", ["mount nothing", "--rounds 0", "--seeds 0"])
def test_what_does_not_exist_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt name runs nothing, and neither does no round."""
    with pytest.raises(SystemExit) as ended:
        read(line.split())
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err
