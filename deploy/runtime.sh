# Chooses what runs sandboxes: an engine, or processes of this machine; sourced by what needs one.

# Whether there is an engine now, be it that it was installed; NO_ENGINE says why there is none.
have_engine() {
    exec 3>&1
    if NO_ENGINE=$(need_engine 2>&1 >&3); then
        exec 3>&-
        return
    fi
    exec 3>&-
    NO_ENGINE=$(grep -m 1 '^✗ ' <<<"$NO_ENGINE" || echo "✗ There is no Docker Engine.")
    # Its first sentence: what to do about it is not asked here.
    NO_ENGINE=${NO_ENGINE#✗ } NO_ENGINE=${NO_ENGINE%.}
    NO_ENGINE=${NO_ENGINE%%. *}.
    return 1
}

# RUNTIME decides by hand; then what the environment or this installation's own file says.
choose_runtime() {
    local chosen=${RUNTIME:-${SANDBOX_RUNTIME:-}}
    case $chosen in
    docker) need_engine ;;
    process) say_what_trial_means ;;
    memory) ;;
    "")
        chosen=docker
        have_engine || { chosen=process && say "$NO_ENGINE" && say_what_trial_means; }
        ;;
    *) die "RUNTIME=$chosen is not known; take docker or process." ;;
    esac
    export SANDBOX_RUNTIME=$chosen
    keep_choice
}

say_what_trial_means() {
    say "Trial mode: sandboxes run as processes of this machine, with no isolation between them." \
        "RUNTIME=docker insists on an engine."
}

# Sweeps by hand or by cron must look where the sandboxes are.
keep_choice() {
    local file="$VAR_DIR/runtime" before
    before=$(sed -n 's/^SANDBOX_RUNTIME=//p' "$file" 2>/dev/null || true)
    [ "$before" != "$SANDBOX_RUNTIME" ] || return 0
    if [ "$before" = process ]; then
        say "Ending the sandboxes that ran as processes"
        SANDBOX_RUNTIME=process "$VENV/bin/python" manage.py clear_engine --yes
    fi
    echo "SANDBOX_RUNTIME=$SANDBOX_RUNTIME" >"$file"
}
