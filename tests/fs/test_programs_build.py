"""make in a workspace: what is up to date stays so, and what is not is built, and only that."""

from pathlib import Path

import pytest

from tests.fs.conftest import Mounted
from tests.fs.running import run

pytestmark = pytest.mark.timeout(60)

PARTS = 10
MAKEFILE = """\
CFLAGS = -O0 -MMD -Iinclude
SOURCES = $(wildcard src/*.c)
OBJECTS = $(SOURCES:src/%.c=build/%.o)
program: $(OBJECTS)
\t$(CC) -o $@ $^
build/%.o: src/%.c
\t@mkdir -p build
\t$(CC) $(CFLAGS) -c -o $@ $<
-include $(OBJECTS:.o=.d)
"""


def write_project(top: Path) -> None:
    """A program of some parts, each with a header that the main part includes."""
    for name in ("src", "include"):
        (top / name).mkdir(exist_ok=True)
    names = [f"part{number}" for number in range(PARTS)]
    for number, name in enumerate(names):
        (top / f"include/{name}.h").write_text(f"int {name}(void);\n")
        text = f'#include "{name}.h"\nint {name}(void) {{ return {number}; }}\n'
        (top / f"src/{name}.c").write_text(text)
    includes = "".join(f'#include "{name}.h"\n' for name in names)
    calls = " + ".join(f"{name}()" for name in names)
    main = f'#include <stdio.h>\n{includes}int main(void) {{ printf("%d\\n", {calls}); }}\n'
    (top / "src/main.c").write_text(main)
    (top / "Makefile").write_text(MAKEFILE)


def built(top: Path) -> dict[str, int]:
    """When each object was made."""
    return {path.name: path.stat().st_mtime_ns for path in (top / "build").glob("*.o")}


def test_make_builds_what_changed(mounted: Mounted) -> None:
    """The second build does nothing; one source, or one header, is what is built anew."""
    ws = mounted.workspace()
    write_project(ws)
    run("make", "-j2", cwd=ws)
    assert run("./program", cwd=ws) == f"{sum(range(PARTS))}\n"
    first = built(ws)
    assert len(first) == PARTS + 1
    assert "up to date" in run("make", cwd=ws)
    run("make", "-q", cwd=ws)
    mounted.stop()
    mounted.start()
    run("make", "-q", cwd=ws)
    (ws / "src/part3.c").touch()
    run("make", cwd=ws)
    second = built(ws)
    assert {name for name in first if first[name] != second[name]} == {"part3.o"}
    header = ws / "include/part5.h"
    header.write_text(header.read_text() + "/* changed */\n")
    run("make", cwd=ws)
    third = built(ws)
    assert {name for name in second if second[name] != third[name]} == {"part5.o", "main.o"}
    assert "up to date" in run("make", cwd=ws)
    paths = {path for _, path in mounted.ops()}
    assert not any(path.startswith("build/") for path in paths)
    assert mounted.files()["program"][1] == "100755"


def test_what_a_landing_brings_is_built(mounted: Mounted) -> None:
    """A file that changed elsewhere is newer than what was made of its old content."""
    ws = mounted.workspace()
    write_project(ws)
    mounted.call("land", "work", agent="tester")
    mine, other = mounted.workspace("Mine"), mounted.workspace("Other")
    run("make", "-j2", cwd=mine)
    run("make", "-q", cwd=mine)
    (other / "src/part1.c").write_text('#include "part1.h"\nint part1(void) { return 101; }\n')
    before = built(mine)
    mounted.call("land", "other", agent="tester")
    run("make", cwd=mine)
    after = built(mine)
    assert {name for name in before if before[name] != after[name]} == {"part1.o"}
    assert run("./program", cwd=mine) == f"{sum(range(PARTS)) + 100}\n"
