# The preparation of containers, by deploy/compose.yaml: their settings are in a volume. Part of install.sh.

STORE_SOCKETS=/run/sandbox-portal-stores
TLS=/tls

container_portal() {
    local name setting
    # shellcheck disable=SC2153 # given by the Compose file
    parse_container_options
    check_options
    check_certificates
    VERSION=$(basename "$(readlink "$ROOT/current")") STAGED=$ROOT/current
    make_environment
    set_value CELERY_BROKER_URL "redis+socket://$STORE_SOCKETS/redis.sock?virtual_host=0"
    set_value CACHE_URL "redis://$STORE_SOCKETS/redis.sock?db=1"
    make_development_ca
    check_settings
    make_directory 755 root:root "$CONFIGURATION/tls"
    make_engine_directories
    install_certificates
    install_environment
    prepare_container
    write_gateway_configuration
}

# Certificates are files with the names of docs/installation.md; without any, they are made.
parse_container_options() {
    SITE_URL=${PORTAL_URL%/} DOMAIN=${PORTAL_SANDBOX_DOMAIN,,} EMAIL_URL=${PORTAL_EMAIL_URL:-}
    DATABASE_URL="postgres://portal@/portal?host=$STORE_SOCKETS"
    for setting in ${PORTAL_SETTINGS:-}; do parse_value --set "$setting"; done
    DEVELOPMENT_CA=1
    for name in portal sandboxes; do
        [ -e "$TLS/$name.pem" ] || continue
        DEVELOPMENT_CA=''
        case $name in
        portal) FILES[certificate]=$TLS/portal.pem FILES[key]=$TLS/portal.key ;;
        sandboxes) FILES[sandbox-certificate]=$TLS/sandboxes.pem FILES[sandbox-key]=$TLS/sandboxes.key ;;
        esac
    done
}

# What `manage.py prepare` does, without the static files, which are part of the image.
prepare_container() (
    cd "$STAGED"
    manage="with_settings .venv/bin/python manage.py"
    { $manage migrate --verbosity 0 && $manage createcachetable && $manage blueprint prepare; } ||
        die "The portal couldn't be prepared; the reason is above. Correct it, and start the containers again."
)
