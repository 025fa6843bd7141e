# Finds a Docker Engine, or installs and starts one. Source it; don't run it.

ENGINE_WAIT_SECONDS=60

ensure_engine() {
    local status
    if status=$("$VENV/bin/python" deploy/ping_engine.py 2>&1); then
        say "$status"
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || die "$status Start the engine there, or unset DOCKER_HOST."
    command -v dockerd >/dev/null || install_engine "$status"
    [ "$(id -u)" = 0 ] ||
        die "$status Start it (sudo systemctl start docker) and join its group (sudo usermod -aG docker $(id -un))."
    start_engine
    wait_for_engine
}

install_engine() {
    may_install || die "$1 Install one (https://docs.docker.com/engine/install/), or set DOCKER_HOST."
    # Container limits need control groups, which only systemd mounts without this package.
    local extra=()
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -e /sys/fs/cgroup/memory ] || extra=(cgroupfs-mount)
    install_packages docker.io "${extra[@]}" || die "Couldn't install docker.io; see $VAR_DIR/log/apt.log."
    [ ${#extra[@]} = 0 ] || cgroupfs-mount
}

start_engine() {
    say "Starting the Docker Engine"
    case $(cat /proc/1/comm) in
    systemd) systemctl start docker || true ;;
    init) service docker start >/dev/null 2>&1 || start_dockerd ;;
    *) start_dockerd ;;
    esac
}

start_dockerd() {
    pidof dockerd >/dev/null && return
    # Stale PID files of a machine that was switched off: dockerd would take any process that has the
    # PID now for itself.
    rm -f /var/run/docker.pid
    pidof containerd >/dev/null || rm -f /var/run/docker/containerd/containerd.pid
    mkdir -p "$VAR_DIR/log"
    "$VENV/bin/python" deploy/detach.py "$VAR_DIR/log/dockerd.log" dockerd
}

wait_for_engine() {
    local status
    for ((second = 0; second < ENGINE_WAIT_SECONDS; second++)); do
        if status=$("$VENV/bin/python" deploy/ping_engine.py 2>&1); then
            say "$status"
            return
        fi
        # Give up if dockerd has exited, as it does in an unprivileged container.
        [ "$second" -lt 3 ] || pidof dockerd >/dev/null || break
        sleep 1
    done
    tail -n 3 "$VAR_DIR/log/dockerd.log" >&2 2>/dev/null || true
    die "The Docker Engine didn't start. Run \`dockerd\` to see why."
}
