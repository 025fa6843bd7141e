#!/bin/sh
# Run one process of the Procfile, in place of this shell and without a prefix for its lines:
#   deploy/process.sh web

set -eu
cd "$(dirname "$0")/.."
command=$(sed -n "s/^${1:?Usage: process.sh NAME}: //p" Procfile)
[ "$command" ] || { echo "The Procfile has no process “$1”." >&2; exit 2; }
exec /bin/sh -c "$command"
