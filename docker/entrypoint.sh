#!/bin/sh
# Serves /repo, which becomes a repository first if it is none. Arguments go to `patchwork serve`.
set -eu

[ -d /repo/.patchwork ] || patchwork init /repo
exec patchwork -C /repo serve --addr 0.0.0.0:8080 "$@"
