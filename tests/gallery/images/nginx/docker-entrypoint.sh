#!/bin/sh
# As the official one: fill in the templates, then start the server as root.
set -e
for template in /etc/nginx/templates/*.template; do
    [ -e "$template" ] || continue
    names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p')
    envsubst "$names" <"$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
done
exec "$@"
