#!/usr/bin/env bash
# `make test-vm`: install what virtual machines need, and test installations on one with a modern Debian.

. "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || die "The disk of a virtual machine is made as root: run the tests as root."
export DJANGO_SETTINGS_MODULE=tests.settings VAR_DIR="$VAR_DIR/tests"
lock_checkout
ensure_test_packages
for command in mmdebstrap qemu-system-x86_64 mke2fs ssh psql; do
    command -v "$command" >/dev/null ||
        install_packages mmdebstrap debian-archive-keyring qemu-system-x86 e2fsprogs openssh-client postgresql-client ||
        die "Couldn't install $command. Install it by hand."
done
exec 9<&-
exec python -m tests.install "$@"
