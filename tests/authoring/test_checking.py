"""`manage.py blueprint check`: all problems of a blueprint, with their places and remedies."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from sandboxes.authoring.checking import check
from sandboxes.authoring.errors import AuthoringError
from sandboxes.authoring.locations import name_from
from sandboxes.blueprints import folders
from tests.helpers.blueprints import tiny, write
from tests.helpers.stopwatch import Stopwatch

UNTOUCHED = """
services:
  web:
    image: example/web
    ports: ["8080:80", "8443"]
    environment: {PASSWORD: "${DB_PASSWORD}", MODE: "${MODE}"}
  db.main:
    image: postgres:17
    ports: [5432]
  1cache:
    image: redis:8
    ports: [6379]
  worker:
    image: example/worker
"""


def write_file(folder: Path, text: str, name: str = "compose.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_valid_blueprint_has_no_problems(tmp_path: Path, capsys) -> None:
    call_command("blueprint", "check", str(write(tmp_path, tiny())))
    assert "tiny: no problems." in capsys.readouterr().out


def test_all_problems_are_told_with_line_key_and_remedy(tmp_path: Path, capsys) -> None:
    content = tiny()
    content["services"]["web"]["privileged"] = True
    content["x-sandbox"]["endpoints"]["web"]["service"] = "cache"
    folder = write(tmp_path, content).parent

    with pytest.raises(CommandError, match="2 problems"):
        call_command("blueprint", "check", str(folder))

    first, second = (
        line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")
    )
    line = next(n for n, text in enumerate(_lines(folder), 1) if "privileged" in text)
    assert first.startswith(f"problem: compose.yaml:{line}: services.web.privileged: ")
    assert "Unknown service cache. " in second
    assert "Name one of the services: web, store." in second


def _lines(folder: Path) -> list[str]:
    return (folder / "compose.yaml").read_text().splitlines()


def test_a_report_can_be_read_by_programs(tmp_path: Path, capsys) -> None:
    content = tiny()
    content["services"]["web"]["privileged"] = True
    with pytest.raises(CommandError):
        call_command("blueprint", "check", str(write(tmp_path, content)), "--json")

    report = json.loads(capsys.readouterr().out)

    assert (report["name"], report["valid"]) == ("tiny", False)
    [problem] = report["problems"]
    assert problem["key"] == "services.web.privileged"
    assert problem["line"]
    assert problem["remedy"]


def test_an_untouched_compose_file_gets_an_endpoint_for_each_published_port(tmp_path: Path) -> None:
    report = check(write_file(tmp_path / "shop", UNTOUCHED))

    assert report.blueprint
    assert {name: one.url for name, one in report.blueprint.endpoints.items()} == {
        "web": "http://{host}:{port}",
        "web-8443": "https://{host}:{port}",
        "db-main": "postgresql://{host}:{port}",
        "service-1cache": "redis://{host}:{port}",
    }
    assert any("defaults apply" in note.message for note in report.notes)


def test_a_suggested_section_is_valid_and_keeps_the_defaults(tmp_path: Path) -> None:
    folder = write_file(tmp_path / "shop", UNTOUCHED)
    first = check(folder)

    (folder / "sandbox.yaml").write_text(first.suggestion)
    second = check(folder)

    assert first.blueprint
    assert second.blueprint
    assert second.blueprint.endpoints == first.blueprint.endpoints
    assert set(second.blueprint.secrets) == {"DB_PASSWORD", "MODE"}
    assert second.blueprint.fill_credentials({"DB_PASSWORD": "x", "MODE": "y"}, {}) == {
        "db_password": "x",
        "mode": "y",
    }
    assert not second.suggestion
    users = '# users: {web: "1000", db.main: "1000", "1cache": "1000", worker: "1000"}'
    assert users in first.suggestion


def test_a_blueprint_is_given_by_its_folder_or_its_compose_file(tmp_path: Path) -> None:
    folder = write_file(tmp_path / "shop", UNTOUCHED, "docker-compose.yml")
    assert check(folder).folder == check(folder / "docker-compose.yml").folder == folder

    write_file(folder, UNTOUCHED)
    with pytest.raises(AuthoringError, match=r"compose\.yaml is used"):
        check(folder / "docker-compose.yml")
    (folder / "notes.txt").touch()
    os.mkfifo(folder / "pipe")
    for path in (folder / "notes.txt", folder / "pipe", folder / "gone", tmp_path):
        with pytest.raises(AuthoringError):
            check(path)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("My Project", "my-project"), ("2048", "blueprint-2048"), ("Ö", "blueprint"), ("a" * 50, 40)],
)
def test_a_folder_with_another_name_is_checked_under_one_that_is_valid(
    tmp_path: Path, folder: str, name: str | int
) -> None:
    report = check(write_file(tmp_path / folder, UNTOUCHED))
    assert report.is_valid
    assert report.name == name_from(folder) == (name if isinstance(name, str) else "a" * name)
    assert any(report.name in note.message for note in report.notes)


@pytest.mark.engine
@pytest.mark.parametrize("options", [[], ["--files-only"]])
def test_images_that_are_not_there_are_told_apart_from_good_ones(
    tmp_path: Path, settings, capsys, options: list[str]
) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    folder = write_file(tmp_path / "unbuilt", "services:\n  web:\n    build: .\n")
    (folder / "Dockerfile").write_text("FROM scratch\nVOLUME /data\n")

    call_command("blueprint", "check", *options, str(folder))

    shown = capsys.readouterr().out
    assert "no problems in its files. Images that aren't checked: web." in shown
    note = "note: compose.yaml:3: services.web.build: The image isn't built from these files yet"
    assert (note in shown) == (not options)
    assert ("`blueprint prepare` build and check it before" in shown) == (not options)


def test_a_blueprint_cannot_have_the_name_of_a_trial(tmp_path: Path, settings) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    folder = write_file(tmp_path / "try-shop", UNTOUCHED)
    [problem] = check(folder).problems
    assert "those of trials" in problem.message
    assert folders.read().problems == (problem,)
    assert not folders.read().valid


def test_a_broken_link_in_place_of_a_section_is_a_problem(tmp_path: Path) -> None:
    folder = write_file(tmp_path / "shop", UNTOUCHED)
    (folder / "sandbox.yaml").symlink_to("gone.yaml")
    [problem] = check(folder).problems
    assert problem.file == folder / "sandbox.yaml"


def test_a_blueprint_can_be_given_as_the_current_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(write_file(tmp_path / "shop", UNTOUCHED))
    assert check(Path()).name == "shop"
    assert folders.inspect_folder(Path()).blueprint


def test_a_folder_without_a_section_can_be_prepared(tmp_path: Path, settings) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = tmp_path
    write_file(tmp_path / "shop", UNTOUCHED)
    assert list(folders.read().valid) == ["shop"]


BOMB = "a: &a [x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "other bytes": ("\x00\x01", "Invalid YAML"),
    "deep nesting": (f"services: {'[' * 3000}{']' * 3000}", "more than 40 levels"),
    "no YAML": ("services: [", "Invalid YAML"),
    "no mapping": ("- a\n- b\n", "not a mapping"),
    "alias bomb": (f"{BOMB}services: *i\n", "more than 10000 values"),
    "cycle of aliases": ("services: &a {web: *a}\n", "inside of what it repeats"),
    "cycle of services": (
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}",
        "for each other",
    ),
    "cycle of files": ("include: [compose.yaml]\nservices: {a: {image: x}}", "include"),
    "10 MB": (f"services: {{web: {{image: x}}}}\n#{'x' * 10_000_000}", "larger than 256 KB"),
    "path out of the folder": (
        "services: {web: {image: x, env_file: ../secret}}",
        "leads out of the blueprint's folder",
    ),
    "link out of the folder": (
        "services: {web: {image: x, env_file: link}}",
        "leads out of the blueprint's folder",
    ),
    "unknown variable of the portal": (
        'services: {web: {image: x, command: "${SANDBOX_NOTHING}"}}',
        "Unknown variable SANDBOX_NOTHING",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_explained_quickly_and_in_little_memory(
    tmp_path: Path, text: str, message: str
) -> None:
    folder = write_file(tmp_path / "bad", text)
    (folder / "link").symlink_to("/etc/passwd")
    tracemalloc.start()
    stopwatch = Stopwatch()

    report = check(folder)

    seconds = stopwatch.seconds
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 50 * 1024 * 1024
    assert any(message in problem.message for problem in report.problems), report.problems
    assert all(problem.remedy and problem.file for problem in report.problems)


def test_a_check_of_an_empty_path_is_not_one_of_the_current_directory() -> None:
    with pytest.raises(CommandError, match="Name the folder"):
        call_command("blueprint", "check", "")


def test_folders_that_are_too_large_and_special_files_in_them_are_told(
    tmp_path: Path, settings: LazySettings
) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    content = tiny()
    content["services"]["web"]["volumes"] = ["./pages:/pages"]
    folder = write(tmp_path, content).parent
    (folder / "pages").mkdir()
    os.mkfifo(folder / "pages" / "pipe")
    report = check(folder, images=False)
    [note] = [note for note in report.notes if "pipe" in note.message]
    assert (note.key, report.problems) == ("services.web.volumes", [])
    assert "Let a command make it." in note.message and note.line

    with (folder / "pages" / "data").open("wb") as data:
        data.truncate(2 * 1024**3)
    problems = check(folder, images=False).problems
    assert {one.key for one in problems} == {"services.web.volumes", "services.web.build"}
    assert all(one.line and "at most 50000 files with 1024 MB" in one.message for one in problems)
