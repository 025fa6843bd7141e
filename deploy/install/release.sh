# Releases: each version has a directory of its own, and `current` is the one that runs. Part of install.sh.

CONTENT=(CHANGELOG.md Procfile deploy docs fixtures manage.py pyproject.toml requirements-gateway.txt requirements.txt
    sandboxes sandboxportal static templates)

# The version in pyproject.toml and a hash of all files, so that a change without a new version is another release.
source_version() {
    local number hash
    number=$(sed -n 's/^version = "\(.*\)"/\1/p' "$SOURCE/pyproject.toml")
    hash=$(cd "$SOURCE" && find "${CONTENT[@]}" -name __pycache__ -prune -o -type f -print0 | sort -z |
        xargs -0 sha256sum | sha256sum)
    echo "$number-${hash:0:10}"
}

# Builds the release in a directory beside its place, so that it is there as a whole or not at all.
stage_release() {
    VERSION=$(source_version)
    if [ -d "$RELEASES/$VERSION" ]; then
        STAGED=$RELEASES/$VERSION
        return
    fi
    STAGED=$RELEASES/.new-$VERSION
    change "Build the release $VERSION in $RELEASES" build_release
}

build_release() {
    # Both are removed again if the settings are refused.
    UNFINISHED=$STAGED
    [ -d "$ROOT" ] || NEW_ROOT=1
    rm -rf "$STAGED"
    mkdir -p "$STAGED"
    tar -C "$SOURCE" --exclude __pycache__ -c "${CONTENT[@]}" | tar -C "$STAGED" -x --no-same-owner
    chmod -R u=rwX,go=rX "$STAGED"
    quietly python3 -m venv "$STAGED/.venv"
    quietly "$STAGED/.venv/bin/python" -m pip install --disable-pip-version-check --no-input --require-hashes \
        -r "$STAGED/requirements.txt" -r "$STAGED/requirements-gateway.txt"
    quietly "$STAGED/.venv/bin/python" -m compileall -q "$STAGED/sandboxes" "$STAGED/sandboxportal"
}

publish_release() {
    [ "$STAGED" != "$RELEASES/$VERSION" ] || return 0
    [ -n "$DRY_RUN" ] || mv -T "$STAGED" "$RELEASES/$VERSION"
    UNFINISHED='' NEW_ROOT=''
}

# Earlier versions kept your own blueprints in the directory of the release, which no later release reads.
keep_blueprints() {
    local folder name
    [ "$(. "$DRAFT" && printf '%s' "$SANDBOX_BLUEPRINTS_DIR")" = "$BLUEPRINTS" ] || return 0
    for folder in "$ROOT"/current/sandboxes/blueprints/*/; do
        name=$(basename "$folder")
        [ -n "$(find "$folder" -maxdepth 1 -name '*compose.y*ml' -print -quit 2>/dev/null)" ] || continue
        if [ -e "$SOURCE/sandboxes/blueprints/$name" ] || [ -e "$BLUEPRINTS/$name" ]; then continue; fi
        change "Copy the blueprint $name to $BLUEPRINTS" cp -a "$folder" "$BLUEPRINTS/$name"
    done
}

# The database is migrated while the processes of the earlier release still run: from 0.2.0 on, migrations only add.
prepare() {
    if [ "$(current_version)" = "$VERSION" ] && [ -e "$RELEASES/$VERSION/.prepared" ]; then return; fi
    change "Prepare the database, the blueprints' images and the static files" prepare_release
}

prepare_release() (
    cd "$RELEASES/$VERSION"
    DRAFT=$ENVIRONMENT with_settings env STATIC_ROOT="$PWD/staticfiles" .venv/bin/python manage.py prepare 2>&1 |
        tee "$TEMPORARY/prepare.log" ||
        die "The portal couldn't be prepared; the reason is above. Correct it, and run install.sh again."
    chmod -R go=rX staticfiles
    if grep -q '^Warning: The blueprint' "$TEMPORARY/prepare.log"; then
        warn "A blueprint was left out; the reason is above. Correct it, and run install.sh again."
    else
        touch .prepared
    fi
)

current_version() { [ ! -L "$ROOT/current" ] || basename "$(readlink "$ROOT/current")"; }

switch_release() {
    local before
    before=$(current_version)
    [ "$before" != "$VERSION" ] || return 0
    RESTART=1 FIRST=${before:-1}
    [ "$FIRST" = 1 ] || FIRST=''
    change "Switch from ${before:-no version} to $VERSION" point_to_release "$before"
}

point_to_release() {
    [ -z "$1" ] || replace_link "releases/$1" "$ROOT/previous"
    replace_link "releases/$VERSION" "$ROOT/current"
}

replace_link() {
    ln -sfn "$1" "$2.new"
    mv -fT "$2.new" "$2"
}

# Chooses the release to roll back to. The database stays as it is.
choose_release() {
    if [ -z "$VERSION" ]; then
        [ -L "$ROOT/previous" ] || die "There is no previous version to roll back to. Versions: $(list_releases)."
        VERSION=$(basename "$(readlink "$ROOT/previous")")
    fi
    [ -e "$RELEASES/$VERSION/.prepared" ] || die "There is no version $VERSION. Versions: $(list_releases)."
}

list_releases() { (cd "$RELEASES" && ls -m); }
