#!/bin/bash
# Install, upgrade or roll back the portal on Debian or Ubuntu; `install.sh --help` lists the options, and
# docs/installation.md describes the result. It can be repeated: it changes only what isn't as it should be.

set -euo pipefail
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
INSTALL=$SOURCE/deploy/install
# shellcheck source-path=SCRIPTDIR/install
. "$INSTALL/output.sh"
. "$INSTALL/preflight.sh"
. "$INSTALL/environment.sh"
. "$INSTALL/system.sh"
. "$INSTALL/release.sh"
. "$INSTALL/services.sh"
. "$INSTALL/container.sh"

ROOT=/opt/sandbox-portal
RELEASES=$ROOT/releases
CONFIGURATION=/etc/sandbox-portal
ENVIRONMENT=${SANDBOX_PORTAL_ENVIRONMENT:-/etc/sandbox-portal.env}
VAR_DIRECTORY=/var/lib/sandbox-portal
BLUEPRINTS=/var/lib/sandbox-portal-blueprints
FIREWALL=/etc/sandbox-portal.firewall
LOGS=/var/log/sandbox-portal

usage() {
    cat <<'TEXT'
Usage: install.sh [install] OPTIONS   Install this version, or change the installation.
       install.sh upgrade             Switch to this version. Sandboxes and sessions live on.
       install.sh rollback [VERSION]  Switch back to the previous version, or to another one.
       install.sh engine DIRECTORY    Set up another machine for an engine of the portal (docs/engines.md).
                                      DIRECTORY is what `manage engine issue-certificate` wrote.
       install.sh engine --remove     Stop its socket proxy, and delete its files and keys.

Required to install, unless they were given before:
  --site-url URL                      Address of the portal, such as https://portal.example.com.
  --sandbox-domain DOMAIN             Domain of sandboxes, registered apart from the portal's,
                                      such as sandboxes.example.net.
  --certificate FILE --key FILE       Certificate of the portal, with its chain, and its key.
  --sandbox-certificate FILE --sandbox-key FILE
                                      Certificate for *.DOMAIN; by default also the portal's.
  --development-ca                    Instead of certificates: make them, to try the portal.

Options:
  --database-url URL                  PostgreSQL server; by default one on this machine.
  --redis-url URL                     Redis server, without a database number; by default one on this machine.
  --email-url URL                     Mail server, such as smtp+tls://user:password@host:587; by default,
                                      emails are written to the log of the process that sends them.
  --https-port N, --postgresql-port N, --http-port N
                                      Ports of the gateway: 443, 5432 and, to redirect to HTTPS, 80.
  --set NAME=VALUE                    Another setting (docs/configuration.md); may be repeated.
  --dry-run                           Check everything, and print what would be done.
TEXT
}

parse_options() {
    MODE=install DRY_RUN='' VERSION='' BUNDLE='' REMOVE=''
    SITE_URL='' DOMAIN='' DEVELOPMENT_CA='' DATABASE_URL='' REDIS_URL='' EMAIL_URL='' SETTINGS=()
    HTTP_PORT='' HTTPS_PORT='' POSTGRESQL_PORT=''
    declare -gA FILES=()
    case ${1:-} in install | upgrade | rollback | container | engine)
        MODE=$1
        shift
        ;;
    esac
    if [ "$MODE" = rollback ] && [[ ${1:-} =~ ^[^-] ]]; then
        VERSION=$1
        shift
    fi
    if [ "$MODE" = engine ]; then
        # Only these modules: USERS are others.
        . "$INSTALL/engine.sh"
        if [[ ${1:-} =~ ^[^-] ]]; then
            BUNDLE=$1
            shift
        fi
    fi
    while [ $# -gt 0 ]; do
        case $1 in
        --remove)
            [ "$MODE" = engine ] || die "Unknown option: $1. See install.sh --help."
            REMOVE=1
            ;;
        --dry-run) DRY_RUN=1 ;;
        --development-ca) DEVELOPMENT_CA=1 ;;
        --help | -h)
            usage
            exit
            ;;
        --*=*)
            set -- "${1%%=*}" "${1#*=}" "${@:2}"
            continue
            ;;
        --site-url | --sandbox-domain | --certificate | --key | --sandbox-certificate | --sandbox-key | \
            --database-url | --redis-url | --email-url | --http-port | --https-port | --postgresql-port | --set)
            [ $# -gt 1 ] || die "$1 needs a value."
            parse_value "$1" "$2"
            shift
            ;;
        *) die "Unknown option: $1. See install.sh --help." ;;
        esac
        shift
    done
}

parse_value() {
    case $1 in
    --site-url) SITE_URL=${2%/} ;;
    --sandbox-domain) DOMAIN=${2,,} ;;
    --database-url) DATABASE_URL=$2 ;;
    --redis-url) REDIS_URL=${2%/} ;;
    --email-url) EMAIL_URL=$2 ;;
    --http-port) HTTP_PORT=$2 ;;
    --https-port) HTTPS_PORT=$2 ;;
    --postgresql-port) POSTGRESQL_PORT=$2 ;;
    --set)
        [[ $2 =~ ^[A-Z][A-Z0-9_]*= ]] || die "--set needs NAME=VALUE, not “$2”."
        SETTINGS+=("$2")
        ;;
    *) FILES[${1#--}]=$2 ;;
    esac
}

install_portal() {
    check_options
    check_machine
    check_certificates
    install_packages
    check_engine
    stage_release
    make_environment
    make_development_ca
    check_settings
    make_users
    make_directories
    install_certificates
    install_stores
    install_environment
    run_release
}

upgrade_portal() {
    require_installation
    check_machine
    stage_release
    add_settings
    check_settings
    make_directories
    install_environment
    run_release
}

# The part of an installation that is the same for an upgrade.
run_release() {
    publish_release
    keep_blueprints
    install_services
    prepare
    switch_release
    write_gateway_configuration
    write_firewall
    restart_changed
}

rollback_portal() {
    require_installation
    choose_release
    switch_release
    restart_changed
}

main() {
    parse_options "$@"
    [ "$(id -u)" = 0 ] || die "install.sh must run as root, for example with sudo."
    trap clean_up EXIT
    TEMPORARY=$(mktemp -d)
    "${MODE}_portal"
    report
}

main "$@"
