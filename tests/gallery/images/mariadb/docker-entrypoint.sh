#!/bin/bash
# As the official one: prepare the directory as root, drop privileges, fill an empty directory by a
# server without network, and start the real one.
set -eo pipefail
[ "${1#-}" = "$1" ] || set -- mariadbd "$@"
data=/var/lib/mysql
if [ "$1" = mariadbd ] && [ "$(id -u)" = 0 ]; then
    find "$data" \! -user mysql -exec chown mysql: '{}' +
    exec setpriv --reuid=mysql --regid=mysql --init-groups "$BASH_SOURCE" "$@"
fi
if [ "$1" = mariadbd ] && [ ! -d "$data/mysql" ]; then
    root_password=${MARIADB_ROOT_PASSWORD:-$MYSQL_ROOT_PASSWORD}
    [ -n "$root_password$MARIADB_RANDOM_ROOT_PASSWORD" ] || {
        echo 'Database is uninitialized and password option is not specified.' >&2
        exit 1
    }
    [ -n "$root_password" ] || root_password=$(head -c 24 /dev/urandom | base64)
    name=${MARIADB_DATABASE:-$MYSQL_DATABASE} user=${MARIADB_USER:-$MYSQL_USER}
    password=${MARIADB_PASSWORD:-$MYSQL_PASSWORD}
    mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal \
        --skip-test-db >/dev/null
    "$@" --skip-networking &
    server=$!
    until mariadb-admin -uroot ping >/dev/null 2>&1; do
        kill -0 $server
        sleep 0.1
    done
    {
        [ -z "$name" ] || echo "CREATE DATABASE \`$name\`;"
        [ -z "$user" ] || echo "CREATE USER '$user'@'%' IDENTIFIED BY '$password';"
        [ -z "$user" ] || [ -z "$name" ] || echo "GRANT ALL ON \`$name\`.* TO '$user'@'%';"
        echo "CREATE USER 'root'@'%' IDENTIFIED BY '$root_password';"
        echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$root_password';"
        echo "CREATE USER 'healthcheck'@'127.0.0.1' IDENTIFIED BY 'healthcheck';"
    } | mariadb -uroot
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$file" ] || mariadb -uroot -p"$root_password" ${name:+"$name"} <"$file"
    done
    kill $server
    wait $server
fi
exec "$@"
