#!/bin/bash
# Starts PostgreSQL. The first start also loads the seed and sets the passwords.
set -eu

fail() { echo "billing-db: $1" >&2; exit 64; }

moment='^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]'
[ -n "${DATABASE_PASSWORD:-}" ] || fail "DATABASE_PASSWORD is not set; it is the password of the role developer"
[[ ${SANDBOX_LAUNCHED_AT:-} =~ $moment ]] ||
    fail "SANDBOX_LAUNCHED_AT is '${SANDBOX_LAUNCHED_AT:-}'; it must be a time such as 2026-01-31T09:30:00Z"

case ${SCENARIO:-standard} in
    standard | empty | dunning | large) ;;
    *) fail "SCENARIO is '$SCENARIO'; it must be standard, empty, dunning or large" ;;
esac

# Unpack the archive of init-cluster.sh. The marker file comes last, so that unpacking is
# repeated if it was interrupted.
[ -e "$PGDATA/unpacked" ] || tar --touch -C "$PGDATA" -xf "$PGDATA.tar"

# A killed container leaves lock files behind; their process id may belong to any process by now.
for lock in "$PGDATA/postmaster.pid" /run/postgresql/.s.PGSQL.5432.lock; do
    [ ! -e "$lock" ] || rm "$lock"
done

accepts_connections() {
    [ -r "$PGDATA/postmaster.pid" ] || return 1
    while read -r line; do
        [ "$line" != ready ] || return 0
    done < "$PGDATA/postmaster.pid"
    return 1
}

initialize() {
    # Reading from this empty pipe with a timeout is a sleep that starts no process.
    exec {never}<> <(:)
    until accepts_connections; do read -r -t 0.003 -u "$never" || :; done
    sh /opt/billing/run-script.sh start.sql || {
        echo "billing-db: the seed could not be loaded; see the lines above" >&2
        # A server that is stopped normally would report success.
        kill -KILL "$1"
        exit 1
    }
    echo "billing-db: ready for connections"
    # Wait until the launch is over; an earlier reset creates the database itself.
    sleep 3
    sh /opt/billing/run-script.sh create-spare.sql >/dev/null 2>&1
}

# Run in a subshell, so that the only children of PostgreSQL are its own processes.
(initialize $$ &)
exec postgres "$@"
