# The service manager's configuration of the processes, and their restart. Part of install.sh.

RESTART=
RESTART_GATEWAY=

install_services() {
    local release=$RELEASES/$VERSION file
    [ -z "$DRY_RUN" ] || release=$SOURCE
    if [ "$(readlink /usr/local/bin/sandbox-portal)" != "$ROOT/current/deploy/sandbox-portal" ]; then
        change "Install the command sandbox-portal" ln -sfn "$ROOT/current/deploy/sandbox-portal" /usr/local/bin/sandbox-portal
    fi
    if has_systemd; then
        while read -r file; do
            mkdir -p "$(dirname "/etc/systemd/system/$file")"
            if install_file 644 root:root "/etc/systemd/system/$file" <"$release/deploy/systemd/$file"; then RESTART=1; fi
        done < <(cd "$release/deploy/systemd" && find . -type f -printf '%P\n' | sort)
    elif install_file 644 root:root /etc/supervisor/conf.d/sandbox-portal.conf \
        < <(sed "s/127.0.0.1:8000/127.0.0.1:$WEB_PORT/" "$release/deploy/supervisor/sandbox-portal.conf"); then
        RESTART=1 RELOAD=1
    fi
}

# The gateway's files hold a token and name a key, so only root and the gateway read them.
write_gateway_configuration() {
    local portal draft=$TEMPORARY/traefik.yaml
    portal=$(portal_host)
    if [ -n "$DRY_RUN" ]; then
        [ -e "$CONFIGURATION/traefik.yaml" ] || change "Write $CONFIGURATION/traefik.yaml"
        return
    fi
    (cd "$RELEASES/$VERSION" && DRAFT=$ENVIRONMENT with_settings .venv/bin/python manage.py gateway_config "$draft" \
        --portal-url "http://127.0.0.1:$WEB_PORT" --portal-route "$CONFIGURATION/portal-route.yaml" >/dev/null)
    if install_file 640 root:portal-gateway "$CONFIGURATION/traefik.yaml" <"$draft"; then RESTART_GATEWAY=1; fi
    if install_file 640 root:portal-gateway "$CONFIGURATION/portal-route.yaml" \
        < <(sed "s/portal\.example\.com/$portal/" "$RELEASES/$VERSION/deploy/traefik/portal-route.yaml"); then
        RESTART_GATEWAY=1
    fi
}

# Sandboxes could otherwise reach services of this machine at its address in their networks.
write_firewall() {
    if [ -n "$DRY_RUN" ]; then
        [ -e "$FIREWALL" ] || change "Write $FIREWALL, and apply it"
        return
    fi
    (cd "$RELEASES/$VERSION" && DRAFT=$ENVIRONMENT with_settings .venv/bin/python manage.py print_firewall) \
        >"$TEMPORARY/firewall"
    if install_file 644 root:root "$FIREWALL" <"$TEMPORARY/firewall"; then quietly sh "$FIREWALL"; fi
}

restart_changed() {
    local portal=/usr/local/bin/sandbox-portal
    if [ -n "$DRY_RUN" ]; then
        [ -z "$RESTART$RESTART_GATEWAY" ] || change "Restart the processes"
        return
    fi
    if has_systemd; then
        systemctl daemon-reload
        systemctl enable -q --now sandbox-portal-firewall
        systemctl enable -q sandbox-portal-socket-proxy sandbox-portal@{web,streams,worker,reaper} sandbox-portal-gateway
    else
        service supervisor status >/dev/null 2>&1 || change "Start Supervisor" quietly service supervisor start
        wait_for_supervisor
        if [ -n "${RELOAD:-}" ]; then quietly supervisorctl update; fi
    fi
    if [ -n "$RESTART" ]; then
        change "Restart the processes" "$portal" restart web streams worker reaper socket-proxy
    fi
    if [ -n "$RESTART_GATEWAY" ]; then change "Restart the gateway" "$portal" restart gateway; fi
    "$portal" start
    wait_for_portal
}

wait_for_supervisor() {
    for _ in {1..50}; do
        if supervisorctl pid >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    die "Supervisor didn't start. See /var/log/supervisor/supervisord.log."
}

wait_for_portal() {
    local address=http://127.0.0.1:$WEB_PORT/healthz
    python3 - "$address" <<'PYTHON' || die "The portal doesn't respond. See its logs: sandbox-portal status."
import sys, time, urllib.request
deadline = time.monotonic() + 60
while True:
    try:
        request = urllib.request.Request(sys.argv[1], headers={"X-Forwarded-Proto": "https"})
        urllib.request.urlopen(request, timeout=30).close()
        break
    except OSError:
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(0.5)
PYTHON
}
