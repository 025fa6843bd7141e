#!/bin/sh
# Start a process of the Procfile: `start.sh PROCESS`.
#
# Uses the release that contains this script, even if the symbolic link `current` through which it was called changes
# while the process runs: modules, templates and static files that are loaded later must match those loaded before.

set -eu
cd -P "$(dirname "$0")/.."
command=$(sed -n "s/^$1: //p" Procfile)
[ -n "$command" ] || {
    echo "The Procfile has no process $1." >&2
    exit 2
}
export PATH="$PWD/.venv/bin:$PATH"
[ ! -d staticfiles ] || export STATIC_ROOT="$PWD/staticfiles"
exec sh -c "$command"
