# Packages, users, directories, certificates, PostgreSQL and Redis. Part of install.sh.

STORE_PORT=5433
# A user for each process, so that each reads and writes only what is its own:
#   portal          the worker and the reaper
#   portal-web      the web process
#   portal-engine   the socket proxy; its group may use the proxy's socket
#   portal-gateway  the gateway
USERS=(portal portal-web portal-engine portal-gateway)

has_systemd() { [ -d /run/systemd/system ]; }

has_package() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed'; }

apt_install() {
    local options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    export DEBIAN_FRONTEND=noninteractive
    apt-get install "${options[@]}" "$@" >/dev/null 2>&1 </dev/null && return
    # The package lists may be missing or out of date.
    quietly apt-get update -qq
    quietly apt-get install "${options[@]}" "$@"
}

install_packages() {
    local wanted=(python3 python3-venv ca-certificates openssl)
    [ -n "$DATABASE_URL" ] || wanted+=(postgresql)
    [ -n "$REDIS_URL" ] || wanted+=(redis-server)
    install_missing "${wanted[@]}"
}

# install_missing PACKAGE…: installs packages, an engine and a service manager, and starts the engine.
install_missing() {
    local wanted=("$@") missing=() name
    command -v docker >/dev/null || wanted+=(docker.io)
    # Without systemd, only this package mounts control groups.
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -e /sys/fs/cgroup/memory ] || wanted+=(cgroupfs-mount)
    has_systemd || wanted+=(supervisor)
    for name in "${wanted[@]}"; do has_package "$name" || missing+=("$name"); done
    if [[ " ${missing[*]} " = *" postgresql "* ]]; then keep_main_cluster_away; fi
    if [ ${#missing[@]} -gt 0 ]; then
        change "Install the Debian packages ${missing[*]}" apt_install "${missing[@]}"
    fi
    if [[ " ${missing[*]} " = *" docker.io "* ]] && [ ! -e /etc/docker/daemon.json ]; then
        # Sandboxes keep running while the engine restarts, and no process is needed for each port.
        install_file 644 root:root /etc/docker/daemon.json <<<'{"live-restore": true, "userland-proxy": false}' || true
    fi
    command -v python3 >/dev/null || return 0
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$(python3 --version) is too old. Python 3.11 is in Debian 12 and Ubuntu 24.04, and newer."
    start_service docker
}

# Debian's package would start a server on the port that the gateway uses for sandboxes.
keep_main_cluster_away() {
    [ -e /etc/postgresql-common/createcluster.conf ] || {
        change "Keep Debian from creating a PostgreSQL server on port 5432" mkdir -p /etc/postgresql-common
        install_file 644 root:root /etc/postgresql-common/createcluster.conf <<<"create_main_cluster = false" || true
    }
}

# start_service NAME: starts a service of a Debian package, unless it runs.
start_service() {
    [ -z "$DRY_RUN" ] || return 0
    if has_systemd; then
        systemctl is-active -q "$1" || change "Start $1" systemctl start "$1"
        return
    fi
    if [ "$1" = docker ]; then
        docker version >/dev/null 2>&1 || change "Start docker" start_engine
    else
        service "$1" status >/dev/null 2>&1 || change "Start $1" quietly service "$1" start
    fi
}

# The script of Debian's package raises limits, which containers and some virtual machines don't allow.
start_engine() {
    service docker start >/dev/null 2>&1 || {
        rm -f /var/run/docker.pid
        setsid dockerd >>/var/log/docker.log 2>&1 </dev/null &
    }
    wait_for_engine
}

wait_for_engine() {
    for _ in {1..60}; do
        if docker version >/dev/null 2>&1; then return; fi
        sleep 1
    done
    die "The Docker Engine didn't start. See /var/log/docker.log, or run \`dockerd\` to see why."
}

# --- users, directories and certificates -----------------------------------------------------

make_users() {
    local user
    for user in "${USERS[@]}"; do
        getent passwd "$user" >/dev/null || change "Create the user $user" \
            useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    done
    [ "$MODE" = engine ] || join portal portal-engine
    join portal-engine docker
}

join() {
    if id -nG "$1" 2>/dev/null | grep -qw "$2"; then return; fi
    change "Add the user $1 to the group $2" usermod -aG "$2" "$1"
}

make_directories() {
    make_directory 755 root:root "$ROOT"
    make_directory 755 root:root "$RELEASES"
    make_directory 755 root:root "$CONFIGURATION"
    make_directory 755 root:root "$CONFIGURATION/tls"
    make_engine_directories
    make_directory 700 portal:portal "$VAR_DIRECTORY"
    make_directory 755 root:root "$BLUEPRINTS"
    has_systemd || make_directory 750 root:root "$LOGS"
}

# The CA of engines is only for commands of root; the worker and the reaper read the portal's certificate.
make_engine_directories() {
    make_directory 700 root:root "$CONFIGURATION/engine-ca"
    make_directory 750 root:portal "$CONFIGURATION/engines"
}

make_directory() {
    [ "$(stat -c '%a %U:%G' "$3" 2>/dev/null)" != "$1 $2" ] || return 0
    change "Create the directory $3" install -d -m "$1" -o "${2%:*}" -g "${2#*:}" "$3"
}

# Makes certificates to try the portal, unless an earlier run has made them.
make_development_ca() {
    [ -n "$DEVELOPMENT_CA" ] && [ ! -e "$CONFIGURATION/tls/portal.pem" ] || return 0
    local directory=$TEMPORARY/ca
    CA=$directory/ca.pem
    FILES[certificate]=$directory/certificate.pem FILES[key]=$directory/key.pem
    FILES[sandbox-certificate]=$directory/certificate.pem FILES[sandbox-key]=$directory/key.pem
    [ -z "$DRY_RUN" ] || return 0
    (cd "$STAGED" && with_settings .venv/bin/python manage.py gateway_development_ca "$directory" \
        --host "$(portal_host)" >/dev/null) || die "The certificates couldn't be made."
}

install_certificates() {
    if [ -n "${CA:-}" ]; then
        install_copy "$CA" 644 root:root ca.pem
        trust_development_ca
    elif [ -n "${FILES[certificate]:-}" ]; then
        sed -i "\\|^SSL_CERT_FILE=$CONFIGURATION/tls/authorities.pem|d" "$DRAFT"
    fi
    [ -z "${FILES[certificate]:-}" ] || {
        install_copy "${FILES[certificate]}" 644 root:root portal.pem
        install_copy "${FILES[key]}" 400 portal-gateway:root portal.key
    }
    [ -z "${FILES[sandbox-certificate]:-}" ] || {
        install_copy "${FILES[sandbox-certificate]}" 644 root:root sandboxes.pem
        install_copy "${FILES[sandbox-key]}" 400 portal-gateway:root sandboxes.key
    }
}

# The portal's own requests, such as the doctor's, trust the development CA as well as the public authorities.
trust_development_ca() {
    local authorities=$TEMPORARY/authorities.pem
    [ -n "$DRY_RUN" ] || cat /etc/ssl/certs/ca-certificates.crt "$CA" >"$authorities"
    install_copy "$authorities" 644 root:root authorities.pem
    add_value SSL_CERT_FILE "$CONFIGURATION/tls/authorities.pem"
}

# install_copy FILE MODE OWNER NAME
install_copy() {
    if [ -n "$DRY_RUN" ]; then
        cmp -s "$1" "$CONFIGURATION/tls/$4" || change "Write $CONFIGURATION/tls/$4"
        return
    fi
    if install_file "$2" "$3" "$CONFIGURATION/tls/$4" <"$1"; then RESTART_GATEWAY=1; fi
}

# --- PostgreSQL and Redis --------------------------------------------------------------------

postgresql_version() {
    # shellcheck disable=SC2012 # names of versions have no special characters
    { ls /usr/lib/postgresql 2>/dev/null || true; } | sort -V | tail -n 1
}

install_stores() {
    if [ -z "$(stored DATABASE_URL)" ] && [ -z "$DATABASE_URL" ]; then install_postgresql; fi
    if [ -z "$REDIS_URL" ] || [ "$REDIS_URL" = redis://127.0.0.1:6379 ]; then
        [ -n "$DRY_RUN" ] || ! has_package redis-server || start_service redis-server
    fi
    if [ -e "/etc/postgresql/$(postgresql_version)/portal" ]; then start_service postgresql; fi
}

# A server of its own, on the loopback interface.
install_postgresql() {
    local version
    version=$(postgresql_version)
    [ -e "/etc/postgresql/$version/portal" ] || change "Create the PostgreSQL server “portal” on port $STORE_PORT" \
        quietly pg_createcluster --port "$STORE_PORT" "$version" portal
    if [ -n "$DRY_RUN" ]; then
        change "Create the database “portal” and its role"
        return
    fi
    start_service postgresql
    pg_lsclusters -h "$version" portal | grep -q online || quietly pg_ctlcluster "$version" portal start
    change "Create the database “portal” and its role" create_database
}

# Sets the password again if an earlier run stopped before it was stored.
create_database() {
    local password
    password=$(. "$DRAFT" && sed -E 's|^postgres://portal:([^@]*)@.*|\1|' <<<"$DATABASE_URL")
    as_postgres psql -v ON_ERROR_STOP=1 -q -v password="$password" <<'SQL'
SELECT 'CREATE ROLE portal LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'portal') \gexec
ALTER ROLE portal PASSWORD :'password';
SELECT 'CREATE DATABASE portal OWNER portal' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'portal') \gexec
SQL
}

as_postgres() { (cd / && setpriv --reuid postgres --regid postgres --init-groups -- env PGPORT="$STORE_PORT" PGDATABASE=postgres "$@"); }
