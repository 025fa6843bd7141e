# Finds a Docker Engine, or gets one going; sourced by what needs one.

ENGINE_WAIT_SECONDS=60

need_engine() {
    local seen
    if seen=$("$VENV/bin/python" deploy/ping_engine.py 2>&1); then
        say "$seen"
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] || die "$seen Start the engine there, or unset DOCKER_HOST."
    command -v dockerd >/dev/null || install_engine "$seen"
    [ "$(id -u)" = 0 ] ||
        die "$seen Start it (sudo systemctl start docker) and join its group (sudo usermod -aG docker $(id -un))."
    start_engine
    wait_for_engine
}

install_engine() {
    may_install || die "$1 Install one (https://docs.docker.com/engine/install/), or set DOCKER_HOST."
    # Without systemd nothing else mounts the control groups that containers are limited by.
    local more=()
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -e /sys/fs/cgroup/memory ] || more=(cgroupfs-mount)
    install_packages docker.io "${more[@]}" || die "docker.io could not be installed; see $VAR_DIR/log/apt.log."
    [ ${#more[@]} = 0 ] || cgroupfs-mount
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
    # A machine that was switched off leaves these, and dockerd believes whatever process has that
    # number now.
    rm -f /var/run/docker.pid
    pidof containerd >/dev/null || rm -f /var/run/docker/containerd/containerd.pid
    mkdir -p "$VAR_DIR/log"
    "$VENV/bin/python" deploy/detach.py "$VAR_DIR/log/dockerd.log" dockerd
}

wait_for_engine() {
    local seen
    for ((second = 0; second < ENGINE_WAIT_SECONDS; second++)); do
        if seen=$("$VENV/bin/python" deploy/ping_engine.py 2>&1); then
            say "$seen"
            return
        fi
        # One that has ended, as in a container without privileges, will not answer.
        [ "$second" -lt 3 ] || pidof dockerd >/dev/null || break
        sleep 1
    done
    tail -n 3 "$VAR_DIR/log/dockerd.log" >&2 2>/dev/null || true
    die "The Docker Engine did not start; \`dockerd\` says why."
}
