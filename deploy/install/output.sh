# Messages, and changes that a dry run only prints. Part of install.sh.

CHANGES=0

say() { printf '▸ %s\n' "$*"; }

warn() { printf '! %s\n' "$*" >&2; }

# die REASON [REMEDY]
die() {
    printf '✗ %s\n' "$*" >&2
    exit 1
}

# change WHAT COMMAND…: runs a command that changes the machine.
change() {
    CHANGES=$((CHANGES + 1))
    if [ -n "$DRY_RUN" ]; then
        say "Would: $1"
        return
    fi
    say "$1"
    "${@:2}"
}

# install_file MODE OWNER:GROUP PATH: makes a file from standard input, at once. Returns 1 if it is the same already.
install_file() {
    local mode=$1 owner=$2 path=$3 draft
    draft=$(mktemp -p "$TEMPORARY")
    cat >"$draft"
    if cmp -s "$draft" "$path" && [ "$(stat -c '%a %U:%G' "$path")" = "$mode $owner" ]; then return 1; fi
    change "Write $path" replace_file "$draft" "$mode" "$owner" "$path"
}

replace_file() {
    install -m "$2" -o "${3%:*}" -g "${3#*:}" "$1" "$4.new"
    mv -f "$4.new" "$4"
}

# quietly COMMAND…: runs a command whose output matters only if it fails.
quietly() {
    local log
    log=$(mktemp -p "$TEMPORARY")
    "$@" >"$log" 2>&1 </dev/null || {
        tail -n 15 "$log" >&2
        die "This command failed: $*. Correct the problem above, and run install.sh again."
    }
}

clean_up() {
    local status=$?
    [ -z "${UNFINISHED:-}" ] || rm -rf "$UNFINISHED"
    [ -z "${NEW_ROOT:-}" ] || rm -rf "$ROOT"
    [ -z "${TEMPORARY:-}" ] || rm -rf "$TEMPORARY"
    return "$status"
}

report() {
    local url
    if [ "$CHANGES" = 0 ]; then
        say "Nothing to change."
    elif [ -n "$DRY_RUN" ]; then
        say "A dry run: nothing was changed."
    fi
    [ -z "$DRY_RUN" ] || return 0
    if [ "$MODE" = engine ]; then
        report_engine
        return
    fi
    url=$(stored SITE_URL)
    say "Version $(basename "$(readlink "$ROOT/current")") of the portal runs at $url"
    [ -z "${FIRST:-}" ] || say "Create your account: sandbox-portal manage createsuperuser"
}
