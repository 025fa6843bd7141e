# Chooses the runtime of sandboxes: a Docker Engine or local processes. Source it; don't run it.

# Whether an engine is available, after installing one if possible. Sets NO_ENGINE to the reason if not.
has_engine() {
    exec 3>&1
    if NO_ENGINE=$(ensure_engine 2>&1 >&3); then
        exec 3>&-
        return
    fi
    exec 3>&-
    NO_ENGINE=$(grep -m 1 '^✗ ' <<<"$NO_ENGINE" || echo "✗ No Docker Engine is available.")
    # Keep the first sentence; the remedy doesn't apply here.
    NO_ENGINE=${NO_ENGINE#✗ } NO_ENGINE=${NO_ENGINE%.}
    NO_ENGINE=${NO_ENGINE%%. *}.
    return 1
}

# RUNTIME takes precedence over SANDBOX_RUNTIME of the environment or of the installation's own file.
choose_runtime() {
    local chosen=${RUNTIME:-${SANDBOX_RUNTIME:-}}
    case $chosen in
    docker) ensure_engine ;;
    process) explain_trial_mode ;;
    memory) ;;
    "")
        chosen=docker
        has_engine || { chosen=process && say "$NO_ENGINE" && explain_trial_mode; }
        ;;
    *) die "Unknown RUNTIME=$chosen. Choose docker or process." ;;
    esac
    export SANDBOX_RUNTIME=$chosen
    save_runtime
}

explain_trial_mode() {
    say "Trial mode: sandboxes run as local processes and aren't isolated from each other." \
        "Set RUNTIME=docker to require a Docker Engine."
}

# Saves the runtime, so that sweeps started by hand or by cron use the same one.
save_runtime() {
    local file="$VAR_DIR/runtime" before
    before=$(sed -n 's/^SANDBOX_RUNTIME=//p' "$file" 2>/dev/null || true)
    [ "$before" != "$SANDBOX_RUNTIME" ] || return 0
    if [ "$before" = process ]; then
        say "Removing the sandboxes that ran as processes"
        SANDBOX_RUNTIME=process "$VENV/bin/python" manage.py purge_engine --yes
    fi
    echo "SANDBOX_RUNTIME=$SANDBOX_RUNTIME" >"$file"
}
