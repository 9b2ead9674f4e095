#!/bin/sh
# Serves /repo, which becomes a repository first if it is none. Arguments go to `patchwork serve`.
set -eu

# The first process of a container gets only the signals that it asks for. An import that was cut
# short would look like an empty repository the next time.
give_up() {
    kill "$importing" 2>/dev/null || true
    wait "$importing" || true
    rm -rf /repo/.patchwork
    exit 143
}

if ! [ -d /repo/.patchwork ]; then
    patchwork init /repo &
    importing=$!
    trap give_up TERM INT
    wait "$importing"
    trap - TERM INT
fi
exec patchwork -C /repo serve --addr 0.0.0.0:8080 "$@"
