# The steps of `make lint`: check the code without running it.

. "$(dirname "$0")/steps.sh"
export DJANGO_SETTINGS_MODULE=tests.settings

check() {
    local said
    said=$("$@" 2>&1) || die "$* says:"$'\n'"$said"
    say "$*"
}

take_turns
need_venv
need_requirements requirements.txt
need_requirements requirements-dev.txt
check ruff check .
check ruff format --check .
check djlint --lint templates
check mypy
check python manage.py check
check python manage.py makemigrations --check
