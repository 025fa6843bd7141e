#!/bin/sh
# As the official one: options are those of redis-server, which root starts as another user.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
# Others connect from the sandbox's network, without a password unless the command sets one.
[ "$1" != redis-server ] || [ -n "${2-}" ] || set -- redis-server --protected-mode no
exec "$@"
