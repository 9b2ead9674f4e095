"""The program that git runs for ``core.fsmonitor``, by its path, with ``python -I -S``.

A module that is imported is compiled once, a script each time; so this is all there is of it.
"""

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rpartition("/pwfs_cli/")[0])
    from pwfs_cli.fsmonitor import main

    main()
