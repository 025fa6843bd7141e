# The machine of an engine, from the directory that `manage.py engine issue-certificate` wrote. Part of install.sh.

ENGINE_ROOT=/opt/sandbox-portal-engine
ENGINE_CONFIGURATION=/etc/sandbox-portal-engine
ENGINE_SERVICE=sandbox-portal-engine-tls
ENGINE_SUPERVISOR=/etc/supervisor/conf.d/sandbox-portal-engine.conf
BUNDLE_FILES=(ca.pem cert.pem key.pem engine.env firewall.sh)
# Beside what the socket proxy runs as, nothing on the machine is the portal's.
USERS=(portal-engine)

engine_portal() {
    if [ -n "$REMOVE" ]; then
        remove_engine
        return
    fi
    check_bundle
    check_system
    check_engine_address
    install_missing python3 openssl iptables
    check_engine_certificate
    check_engine
    make_users
    install_proxy
    install_engine_files
    install_engine_service
    restart_engine_proxy
}

# Without a directory, what is installed stays.
check_bundle() {
    local name
    [ -n "$BUNDLE" ] || die "Name the directory that \`sandbox-portal manage engine issue-certificate\` wrote: install.sh engine DIRECTORY."
    [ -d "$BUNDLE" ] || die "$BUNDLE isn't a directory. Copy the one that \`sandbox-portal manage engine issue-certificate\` wrote."
    for name in "${BUNDLE_FILES[@]}"; do
        [ -r "$BUNDLE/$name" ] || die "$BUNDLE/$name is missing. Issue the certificate again, and copy the whole directory."
    done
    [ ! -e "$ROOT/current" ] || die "The portal runs on this machine, which has the engine “default”. Use another machine."
    for name in ENGINE_TLS SANDBOX_INSTANCE SANDBOX_BIND_ADDRESS; do
        [ -n "$(bundled "$name")" ] || die "$BUNDLE/engine.env doesn't set $name. Issue the certificate again."
    done
}

# Prints a setting of the directory.
bundled() { (. "$BUNDLE/engine.env" >/dev/null 2>&1 && printf '%s' "${!1:-}"); }

# Bare machines have no `ip`. The kernel's table of routes has the addresses of version 4, also on the loopback interface.
own_addresses() {
    awk '/32 host LOCAL/ { print address } { address = $2 }' /proc/net/fib_trie
    hostname -I | tr ' ' '\n'
}

check_engine_address() {
    local listen host name
    listen=$(bundled ENGINE_TLS)
    host=${listen%:*} host=${host#[} host=${host%]}
    for name in "$host" "$(bundled SANDBOX_BIND_ADDRESS)"; do
        own_addresses | grep -xF "$name" >/dev/null ||
            die "This machine doesn't have the address $name. Issue a certificate for one that it has: $(hostname -I)"
    done
    [ -e "$ENGINE_CONFIGURATION/engine.env" ] ||
        check_port "${listen##*:}" "Stop the program that uses it, or issue the certificate with another --port."
}

check_engine_certificate() {
    local certificate=$BUNDLE/cert.pem
    command -v openssl >/dev/null || {
        warn "Without openssl, a dry run can't check the certificate."
        return 0
    }
    openssl x509 -in "$certificate" -noout 2>/dev/null || die "$certificate isn't a certificate. Issue it again."
    openssl pkey -in "$BUNDLE/key.pem" -passin pass: -noout 2>/dev/null || die "$BUNDLE/key.pem isn't a key. Issue the certificate again."
    [ "$(openssl x509 -in "$certificate" -noout -pubkey)" = "$(openssl pkey -in "$BUNDLE/key.pem" -passin pass: -pubout)" ] ||
        die "$BUNDLE/key.pem isn't the key of $certificate. Copy the directory again, with all files of one run."
    openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null ||
        die "$certificate has expired ($(openssl x509 -in "$certificate" -noout -enddate)). Issue it again."
    openssl verify -CAfile "$BUNDLE/ca.pem" -purpose sslserver "$certificate" >/dev/null 2>&1 ||
        die "$certificate isn't one of the CA in $BUNDLE/ca.pem. Issue it again."
}

# The proxy's program alone, not the portal.
install_proxy() {
    local file
    make_directory 755 root:root "$ENGINE_ROOT"
    make_directory 755 root:root "$ENGINE_ROOT/socket_proxy"
    while read -r file; do
        install_changed 644 root:root "$ENGINE_ROOT/$file" "$SOURCE/deploy/$file"
    done < <(cd "$SOURCE/deploy" && ls docker_socket_proxy.py socket_proxy/*.py)
}

install_engine_files() {
    local name draft=$TEMPORARY/engine.env setting
    make_directory 755 root:root "$ENGINE_CONFIGURATION"
    make_directory 750 root:portal-engine "$ENGINE_CONFIGURATION/tls"
    cp "$BUNDLE/engine.env" "$draft"
    # What the engine of this machine needs, such as DOCKER_API_VERSION.
    for setting in "${SETTINGS[@]}"; do printf '%s\n' "$setting" >>"$draft"; done
    install_changed 640 root:portal-engine "$ENGINE_CONFIGURATION/engine.env" "$draft"
    # New certificates are used from the next connection on.
    for name in ca.pem key.pem cert.pem; do
        install_from 640 root:portal-engine "$ENGINE_CONFIGURATION/tls/$name" "$BUNDLE/$name" || true
    done
    if install_from 644 root:root "$FIREWALL" "$BUNDLE/firewall.sh" && [ -z "$DRY_RUN" ]; then quietly sh "$FIREWALL"; fi
}

# install_from MODE OWNER:GROUP PATH FILE: returns 1 if it is the same already.
install_from() {
    if [ -n "$DRY_RUN" ]; then
        ! cmp -s "$4" "$3" || return 1
        change "Write $3"
        return
    fi
    install_file "$1" "$2" "$3" <"$4"
}

install_changed() { if install_from "$@"; then RESTART=1; fi; }

install_engine_service() {
    local name
    if has_systemd; then
        for name in "$ENGINE_SERVICE" sandbox-portal-firewall; do
            install_changed 644 root:root "/etc/systemd/system/$name.service" "$SOURCE/deploy/systemd/$name.service"
        done
    else
        make_directory 750 root:root "$LOGS"
        install_changed 644 root:root "$ENGINE_SUPERVISOR" "$SOURCE/deploy/supervisor/sandbox-portal-engine.conf"
    fi
}

restart_engine_proxy() {
    local listen
    if [ -n "$DRY_RUN" ]; then
        [ -z "$RESTART" ] || change "Restart the socket proxy"
        return
    fi
    if has_systemd; then
        systemctl daemon-reload
        systemctl enable -q --now sandbox-portal-firewall
        systemctl enable -q "$ENGINE_SERVICE"
        [ -z "$RESTART" ] || change "Restart the socket proxy" systemctl restart "$ENGINE_SERVICE"
        systemctl start "$ENGINE_SERVICE"
    else
        sh "$FIREWALL"
        service supervisor status >/dev/null 2>&1 || change "Start Supervisor" quietly service supervisor start
        wait_for_supervisor
        quietly supervisorctl update
        [ -z "$RESTART" ] || change "Restart the socket proxy" quietly supervisorctl restart sandbox-portal-engine
    fi
    listen=$(bundled ENGINE_TLS)
    wait_for_listener "${listen%:*}" "${listen##*:}"
}

wait_for_listener() {
    local host=${1#[}
    for _ in {1..50}; do
        if (exec 3<>"/dev/tcp/${host%]}/$2") 2>/dev/null; then return; fi
        sleep 0.2
    done
    die "The socket proxy doesn't listen on $1:$2. See its log: journalctl -u $ENGINE_SERVICE, or $LOGS/engine.log."
}

remove_engine() {
    if has_systemd; then
        if [ -e "/etc/systemd/system/$ENGINE_SERVICE.service" ]; then
            change "Stop the socket proxy" quietly systemctl disable --now "$ENGINE_SERVICE"
            change "Delete its unit" rm "/etc/systemd/system/$ENGINE_SERVICE.service"
        fi
    elif [ -e "$ENGINE_SUPERVISOR" ]; then
        change "Delete its configuration of Supervisor" rm "$ENGINE_SUPERVISOR"
        change "Stop the socket proxy" quietly supervisorctl update
    fi
    for directory in "$ENGINE_ROOT" "$ENGINE_CONFIGURATION"; do
        [ ! -e "$directory" ] || change "Delete $directory" rm -rf "$directory"
    done
}

report_engine() {
    [ -z "$REMOVE" ] || return 0
    say "The socket proxy of the engine listens on $(bundled ENGINE_TLS). Add the engine on the portal's machine:"
    say "sandbox-portal manage engine add NAME tcp://$(bundled ENGINE_TLS) --publish-address $(bundled SANDBOX_BIND_ADDRESS)"
}
