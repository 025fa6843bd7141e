# What install.sh refuses before it changes anything. Part of install.sh.

OLDEST_API=1.41

# Options fall back to what an earlier run stored.
check_options() {
    local portal
    SITE_URL=${SITE_URL:-$(stored SITE_URL)} DOMAIN=${DOMAIN:-$(stored SANDBOX_DOMAIN)}
    [ -n "$SITE_URL" ] || die "--site-url is missing, such as --site-url https://portal.example.com."
    [ -n "$DOMAIN" ] || die "--sandbox-domain is missing, such as --sandbox-domain sandboxes.example.net."
    [[ $SITE_URL =~ ^https://[a-zA-Z0-9.-]+(:[0-9]+)?$ ]] ||
        die "--site-url is “$SITE_URL”. Use https:// and a host name, without a path."
    portal=$(portal_host)
    if [ "$portal" = "$DOMAIN" ] || [[ $portal = *."$DOMAIN" || $DOMAIN = *."$portal" ]]; then
        die "--sandbox-domain is $DOMAIN: a sandbox's pages could set cookies of the portal, $portal. Use a domain that is registered apart from the portal's."
    fi
    if [ -z "$DEVELOPMENT_CA" ] && [ -z "${FILES[certificate]:-}" ] && [ ! -e "$CONFIGURATION/tls/portal.pem" ]; then
        die "--certificate and --key are missing: the portal's certificate with its chain, and its key. To try the portal, use --development-ca."
    fi
    if [ -n "$DEVELOPMENT_CA" ] && [ -n "${FILES[certificate]:-}" ]; then
        die "--development-ca makes certificates; leave out --certificate, or leave out --development-ca."
    fi
    if [ -z "$DATABASE_URL" ]; then DATABASE_URL=$(stored DATABASE_URL); fi
    if [ -z "$REDIS_URL" ]; then
        REDIS_URL=$(stored CELERY_BROKER_URL)
        REDIS_URL=${REDIS_URL%/0}
    fi
    HTTP_PORT=${HTTP_PORT:-$(stored SANDBOX_GATEWAY_HTTP_PORT)} HTTP_PORT=${HTTP_PORT:-80}
    HTTPS_PORT=${HTTPS_PORT:-$(stored SANDBOX_GATEWAY_HTTPS_PORT)} HTTPS_PORT=${HTTPS_PORT:-443}
    POSTGRESQL_PORT=${POSTGRESQL_PORT:-$(stored SANDBOX_GATEWAY_POSTGRESQL_PORT)}
    POSTGRESQL_PORT=${POSTGRESQL_PORT:-5432}
}

portal_host() { sed -E 's|^https://([^:/]+).*|\1|' <<<"${SITE_URL,,}"; }

check_machine() {
    check_system
    [ -e "$ROOT/current" ] || check_ports
}

check_system() {
    local directory probe
    grep -qE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release 2>/dev/null ||
        die "This machine runs neither Debian nor Ubuntu. Use deploy/compose.yaml, or install by hand: docs/installation.md."
    for directory in /opt /etc /var/lib /var/log /usr/local/bin; do
        probe=$(mktemp -p "$directory" .sandbox-portal-XXXXXX 2>/dev/null) ||
            die "$directory isn't writable. Remount its file system read-write, or make it a directory of root."
        rm -f "$probe"
    done
}

check_ports() {
    [ "$HTTP_PORT" = 0 ] ||
        check_port "$HTTP_PORT" "Stop the program that uses it, or choose another one with --http-port, or 0 for none."
    check_port "$HTTPS_PORT" "Stop the program that uses it, or choose another one with --https-port."
    check_port "$POSTGRESQL_PORT" "Stop the program that uses it, or choose another one with --postgresql-port."
    check_port "$WEB_PORT" "Stop the program that uses it: the web process listens there."
    check_port 8002 "Stop the program that uses it: the streams process listens there."
    if [ -z "$DATABASE_URL" ] && [ ! -e "/etc/postgresql/$(postgresql_version)/portal" ]; then
        check_port "$STORE_PORT" "Stop the program that uses it, or name a PostgreSQL server with --database-url."
    fi
    if [ -z "$REDIS_URL" ] && ! has_package redis-server; then
        check_port 6379 "Stop the program that uses it, or name a Redis server with --redis-url, such as redis://127.0.0.1:6379."
    fi
}

# Bare machines have no `ss`. The kernel lists addresses in hexadecimal; the state 0A is LISTEN.
check_port() {
    local hexadecimal
    hexadecimal=$(printf '%04X' "$1")
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port=":$hexadecimal\$" '$4 == "0A" && $2 ~ port { found = 1 } END { exit !found }'; then
        die "Port $1 is in use. $2"
    fi
}

# --- certificates ----------------------------------------------------------------------------

check_certificates() {
    local name
    for name in certificate sandbox-certificate; do
        [ -n "${FILES[$name]:-}" ] || [ -z "${FILES[${name/certificate/key}]:-}" ] ||
            die "--${name/certificate/key} is given without --$name."
    done
    [ -n "${FILES[certificate]:-}${FILES[sandbox-certificate]:-}" ] || return 0
    if ! command -v openssl >/dev/null; then
        change "Install the Debian package openssl" apt_install openssl
        [ -z "$DRY_RUN" ] || {
            warn "Without openssl, a dry run can't check certificates."
            return 0
        }
    fi
    if [ -n "${FILES[certificate]:-}" ]; then
        check_certificate certificate key "$(portal_host)"
        # One certificate may be for both.
        if [ -z "${FILES[sandbox-certificate]:-}" ] && [ ! -e "$CONFIGURATION/tls/sandboxes.pem" ]; then
            FILES[sandbox-certificate]=${FILES[certificate]} FILES[sandbox-key]=${FILES[key]}
        fi
    fi
    [ -z "${FILES[sandbox-certificate]:-}" ] ||
        check_certificate sandbox-certificate sandbox-key "any.$DOMAIN" "*.$DOMAIN"
}

# check_certificate OPTION OPTION-OF-KEY HOST [SHOWN]
check_certificate() {
    local certificate=${FILES[$1]} key=${FILES[$2]:-} host=$3 shown=${4:-$3}
    [ -n "$key" ] || die "--$2 is missing: the key of $certificate."
    [ -r "$certificate" ] && [ -f "$certificate" ] || die "--$1: $certificate can't be read. Correct the path."
    [ -r "$key" ] && [ -f "$key" ] || die "--$2: $key can't be read. Correct the path."
    openssl x509 -in "$certificate" -noout 2>/dev/null ||
        die "--$1: $certificate isn't a certificate. Use a PEM file with the certificate and its chain."
    openssl pkey -in "$key" -passin pass: -noout 2>/dev/null ||
        die "--$2: $key isn't a key. Use a PEM file without a password."
    [ "$(openssl x509 -in "$certificate" -noout -pubkey)" = "$(openssl pkey -in "$key" -passin pass: -pubout)" ] ||
        die "--$2: $key isn't the key of $certificate. Use the key with which it was requested."
    openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null ||
        die "--$1: $certificate has expired ($(openssl x509 -in "$certificate" -noout -enddate)). Renew it."
    openssl x509 -in "$certificate" -noout -checkhost "$host" | grep -q 'does match' ||
        die "--$1: $certificate isn't valid for $shown. Request a certificate for this name."
}

# --- engine ----------------------------------------------------------------------------------

check_engine() {
    local version oldest
    command -v docker >/dev/null || return 0
    version=$(docker version --format '{{.Server.APIVersion}} {{.Server.MinAPIVersion}}' 2>/dev/null) || return 0
    read -r version oldest <<<"$version"
    is_newer "$version" "$OLDEST_API" ||
        die "The Docker Engine speaks API $version, which is too old. Install Docker 20.10 or newer."
    if ! is_newer "$OLDEST_API" "$oldest"; then SETTINGS+=("DOCKER_API_VERSION=$oldest"); fi
}

# Whether the first version is the same as the second, or newer.
is_newer() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

require_installation() {
    [ -L "$ROOT/current" ] && [ -e "$ENVIRONMENT" ] ||
        die "The portal isn't installed here. Install it first: install.sh --help."
    SITE_URL=$(stored SITE_URL) DOMAIN=$(stored SANDBOX_DOMAIN)
    DATABASE_URL=$(stored DATABASE_URL) REDIS_URL=$(stored CELERY_BROKER_URL) REDIS_URL=${REDIS_URL%/0}
    HTTP_PORT=$(stored SANDBOX_GATEWAY_HTTP_PORT) HTTP_PORT=${HTTP_PORT:-0}
    HTTPS_PORT=$(stored SANDBOX_GATEWAY_HTTPS_PORT) HTTPS_PORT=${HTTPS_PORT:-443}
    POSTGRESQL_PORT=$(stored SANDBOX_GATEWAY_POSTGRESQL_PORT) POSTGRESQL_PORT=${POSTGRESQL_PORT:-5432}
}
