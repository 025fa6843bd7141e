#!/usr/bin/env bash
# The steps of `make test`: install what tests need, check the code, run every test.

. "$(dirname "$0")/steps.sh"
. deploy/engine.sh

# The packages of which tests would miss something.
missing_packages() {
    [ -x /usr/bin/chromium ] || echo chromium fonts-inter fonts-jetbrains-mono
    # What Playwright brings to steer Chromium needs it.
    grep -q libatomic.so.1 <(/sbin/ldconfig -p) || echo libatomic1
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    [ -x /bin/busybox ] || echo busybox-static
    # Newer Debian releases have split the command from docker.io.
    command -v docker >/dev/null || echo docker-cli
    command -v promtool >/dev/null || echo prometheus
}

need_tools() {
    local missing
    read -r -d '' -a missing < <(missing_packages) || true
    [ ${#missing[@]} = 0 ] && return
    may_install || die "Tests need what only root on Debian or Ubuntu can install here: ${missing[*]}."
    install_packages "${missing[@]}" || die "These could not be installed: ${missing[*]}."
    [ -z "$(missing_packages)" ] || die "This system's packages don't bring: $(missing_packages)."
}

bash deploy/lint.sh
# Apart from a portal that runs here, and from what its own file sets.
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
take_turns
need_engine
need_tools
say "Checking the images of the blueprints"
python manage.py build_images
exec 9<&-
say "Running the tests"
# A test that hangs ends the run, which then tells where it hung.
exec python -m pytest -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true "$@"
