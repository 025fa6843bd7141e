#!/bin/sh
# Starts PostgreSQL; the first time, also puts the seed and the passwords in.
set -eu

refuse() { echo "billing-db: $1" >&2; exit 64; }

[ -n "${DATABASE_PASSWORD:-}" ] || refuse "DATABASE_PASSWORD is not set; it is the password of the role developer"
case ${SANDBOX_LAUNCHED_AT:-} in
    [0-9]*T*) date --date="$SANDBOX_LAUNCHED_AT" >/dev/null 2>&1 ;;
    *) false ;;
esac || refuse "SANDBOX_LAUNCHED_AT is '${SANDBOX_LAUNCHED_AT:-}'; it must be a time such as 2026-01-31T09:30:00Z"

# A killed container leaves it behind, and the process it names may be anything by now.
rm -f "$PGDATA/postmaster.pid"

accepts_connections() {
    [ -r "$PGDATA/postmaster.pid" ] || return 1
    while read -r line; do
        [ "$line" != ready ] || return 0
    done < "$PGDATA/postmaster.pid"
    return 1
}

prepare() {
    until accepts_connections; do sleep 0.01; done
    psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f /opt/billing/first-start.sql billing || {
        echo "billing-db: the seed could not be put in; the lines above say why" >&2
        # Asked to stop, the server would report success.
        kill -KILL "$1"
        exit 1
    }
    # When the rush of the launch is over; a reset that can't wait does it itself.
    sleep 3
    sh /opt/billing/run.sh make-spare.sql >/dev/null 2>&1
}

# In a subshell of its own, so that PostgreSQL is nobody's parent but its own processes'.
(prepare $$ &)
exec postgres "$@"
