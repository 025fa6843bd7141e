#!/bin/sh
# Run PostgreSQL on a Unix socket, and create the portal's database at the first start.

set -eu
DATA=/var/lib/sandbox-portal-postgresql
SOCKETS=/run/sandbox-portal-stores
bin=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)")
if [ ! -e "$DATA/PG_VERSION" ]; then
    # Only containers of the portal have the volume with the socket, so it needs no password.
    "$bin/initdb" --pgdata "$DATA" --auth-local trust --auth-host reject --encoding UTF8 --locale C.UTF-8 >/dev/null
    "$bin/postgres" --single -D "$DATA" postgres >/dev/null <<SQL
CREATE ROLE portal LOGIN
CREATE DATABASE portal OWNER portal
SQL
fi
exec "$bin/postgres" -D "$DATA" -c listen_addresses= -c unix_socket_directories="$SOCKETS"
