#!/bin/bash
# Starts PostgreSQL; the first time, also puts the seed and the passwords in.
set -eu

refuse() { echo "billing-db: $1" >&2; exit 64; }

moment='^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]'
[ -n "${DATABASE_PASSWORD:-}" ] || refuse "DATABASE_PASSWORD is not set; it is the password of the role developer"
[[ ${SANDBOX_LAUNCHED_AT:-} =~ $moment ]] ||
    refuse "SANDBOX_LAUNCHED_AT is '${SANDBOX_LAUNCHED_AT:-}'; it must be a time such as 2026-01-31T09:30:00Z"

# What init-cluster.sh packed. The mark comes last, so what was killed halfway is done again.
[ -e "$PGDATA/unpacked" ] || tar --touch -C "$PGDATA" -xf "$PGDATA.tar"

# A killed container leaves it behind, and the process it names may be anything by now.
[ ! -e "$PGDATA/postmaster.pid" ] || rm "$PGDATA/postmaster.pid"

accepts_connections() {
    [ -r "$PGDATA/postmaster.pid" ] || return 1
    while read -r line; do
        [ "$line" != ready ] || return 0
    done < "$PGDATA/postmaster.pid"
    return 1
}

prepare() {
    # Nothing ever comes out of this pipe: to wait for that is a pause that needs no process.
    exec {never}<> <(:)
    until accepts_connections; do read -r -t 0.003 -u "$never" || :; done
    psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f /opt/billing/first-start.sql billing || {
        echo "billing-db: the seed could not be put in; the lines above say why" >&2
        # Asked to stop, the server would report success.
        kill -KILL "$1"
        exit 1
    }
    # When the rush of the launch is over; a reset that can't wait does it itself.
    sleep 3
    sh /opt/billing/run-script.sh create-spare.sql >/dev/null 2>&1
}

# In a subshell of its own, so that PostgreSQL is nobody's parent but its own processes'.
(prepare $$ &)
exec postgres "$@"
