# The steps of `make lock`: pin every package that requirements*.in lead to, with its hashes.

. "$(dirname "$0")/steps.sh"

take_turns
need_venv
python -m pip install -qq --disable-pip-version-check uv
for list in requirements requirements-dev; do
    say "Compiling $list.in"
    python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        "$@" "$list.in" -o "$list.txt"
done
