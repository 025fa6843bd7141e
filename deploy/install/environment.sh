# The portal's settings in /etc/sandbox-portal.env. Part of install.sh.

WEB_PORT=8000

# Prints a value of the installed file.
stored() { [ ! -r "$ENVIRONMENT" ] || (. "$ENVIRONMENT" >/dev/null 2>&1 && printf '%s' "${!1:-}"); }

random_text() { head -c "$1" /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'; }

# Makes the new content of the file. Values that are there stay, unless an option sets them.
make_environment() {
    local setting
    start_draft
    set_value SITE_URL "$SITE_URL"
    set_value DATABASE_URL "${DATABASE_URL:-postgres://portal:$(od -An -N24 -tx8 /dev/urandom | tr -d ' \n')@127.0.0.1:$STORE_PORT/portal}"
    set_value CELERY_BROKER_URL "${REDIS_URL:-redis://127.0.0.1:6379}/0"
    set_value CACHE_URL "${REDIS_URL:-redis://127.0.0.1:6379}/1"
    set_value SANDBOX_DOMAIN "$DOMAIN"
    set_value SANDBOX_GATEWAY_CERTIFICATE "$CONFIGURATION/tls/sandboxes.pem"
    set_value SANDBOX_GATEWAY_KEY "$CONFIGURATION/tls/sandboxes.key"
    set_value SANDBOX_GATEWAY_HTTP_PORT "$HTTP_PORT"
    [ "$HTTPS_PORT" = 443 ] || set_value SANDBOX_GATEWAY_HTTPS_PORT "$HTTPS_PORT"
    [ "$POSTGRESQL_PORT" = 5432 ] || set_value SANDBOX_GATEWAY_POSTGRESQL_PORT "$POSTGRESQL_PORT"
    if [ -n "$EMAIL_URL" ]; then
        set_value EMAIL_URL "$EMAIL_URL"
        set_value ACCOUNT_EMAIL_VERIFICATION mandatory
    fi
    add_defaults
    for setting in "${SETTINGS[@]}"; do set_value "${setting%%=*}" "${setting#*=}"; done
}

# For an upgrade: adds the settings that this version needs and the installed one didn't have.
add_settings() {
    start_draft
    add_defaults
}

start_draft() {
    DRAFT=$TEMPORARY/environment
    (umask 077 && touch "$DRAFT")
    if [ -e "$ENVIRONMENT" ]; then
        cat "$ENVIRONMENT" >"$DRAFT"
    else
        echo "# Settings of the portal: docs/configuration.md. After a change: sandbox-portal restart" >"$DRAFT"
    fi
}

add_defaults() {
    add_value ALLOWED_HOSTS "$(portal_host),127.0.0.1,localhost"
    add_value TRUSTED_PROXY_COUNT 1
    add_value SECRET_KEY "$(random_text 48)"
    add_value SANDBOX_ENCRYPTION_KEYS "$(random_text 32)"
    add_value SANDBOX_INSTANCE "portal-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')"
    add_value METRICS_TOKEN "$(random_text 32)"
    add_value VAR_DIR "$VAR_DIRECTORY"
    grep -q '^SANDBOX_BLUEPRINTS_DIR=' "$DRAFT" || add_value SANDBOX_SHIPPED_BLUEPRINTS true
    add_value SANDBOX_BLUEPRINTS_DIR "$BLUEPRINTS"
    add_value SANDBOX_GATEWAY_TOKEN "$(random_text 36)"
    add_value SANDBOX_ENGINE_CA "$CONFIGURATION/engine-ca"
    [ -e "$VAR_DIRECTORY/engine-certificates" ] || add_value SANDBOX_ENGINE_CERTIFICATES "$CONFIGURATION/engines"
    add_value EMAIL_URL consolemail://
    add_value ACCOUNT_EMAIL_VERIFICATION none
    add_value LOG_FORMAT json
    add_value STREAMS_URL "$(. "$DRAFT" && printf '%s' "$SITE_URL")"
}

# The file is read by systemd and by shells: both know single quotes.
add_value() {
    local value=$2
    if grep -q "^$1=" "$DRAFT"; then return; fi
    if [[ ! $value =~ ^[A-Za-z0-9_.,:/@%+=-]*$ ]]; then
        [[ $value != *[\'$'\n']* ]] || die "$1 contains a quote or a line break, which $ENVIRONMENT can't hold."
        value="'$value'"
    fi
    printf '%s=%s\n' "$1" "$value" >>"$DRAFT"
}

set_value() {
    local before
    before=$(. "$DRAFT" && printf '%s' "${!1:-}")
    if [ "$before" = "$2" ] && grep -q "^$1=" "$DRAFT"; then return; fi
    sed -i "/^$1=/d" "$DRAFT"
    add_value "$1" "$2"
}

install_environment() {
    if install_file 640 root:portal "$ENVIRONMENT" <"$DRAFT"; then RESTART=1; fi
}

# The settings that the new release will have, as the draft says.
with_settings() (
    set -a
    . "$DRAFT"
    set +a
    # As root, it must not read the settings in VAR_DIR, which the worker could have written.
    export VAR_DIR=$ROOT
    "$@"
)

# Refuses settings that the portal's own checks find wrong. New certificates aren't in place yet.
check_settings() {
    local output certificate=$CONFIGURATION/tls/sandboxes.pem key=$CONFIGURATION/tls/sandboxes.key
    [ -z "$DRY_RUN" ] || return 0
    output=$(cd "$STAGED" && with_settings env \
        SANDBOX_GATEWAY_CERTIFICATE="${FILES[sandbox-certificate]:-$certificate}" \
        SANDBOX_GATEWAY_KEY="${FILES[sandbox-key]:-$key}" \
        .venv/bin/python manage.py check --fail-level ERROR 2>&1) || {
        printf '%s\n' "$output" >&2
        die "These settings can't be used; the reasons are above. Nothing was installed."
    }
}
