"""`./dev bench [NAME …]`: runs the named benchmarks, or all of them."""

import importlib
import platform
import sys

NAMES = ("durability", "merge", "status", "worktree")


def main() -> int:
    """Runs what was asked for; exits 2 for a name that does not exist."""
    wanted = sys.argv[1:] or list(NAMES)
    if unknown := [name for name in wanted if name not in NAMES]:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"# {platform.platform()}, Python {platform.python_version()}")
    for name in wanted:
        print(f"\n## {name}\n")
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
