"""A small blueprint to change, and the problems that loading reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from django.core.management import call_command

from sandboxes.blueprints import Problem
from sandboxes.blueprints.loader import load_blueprint
from tests.helpers.scenarios import run_on_commit

MEMORY_MB, CPUS = 512, 1.0
TINY = """
name: tiny
services:
  web:
    image: example/web
    build: {context: ., dockerfile: web/Dockerfile}
    environment: {TOKEN: "${TOKEN}", PRICE: "5 $$", WHEN: "${SANDBOX_LAUNCHED_AT}", WORKERS: 2}
    command: serve --name "${SANDBOX_ID} web"
    mem_limit: 128m
    cpus: 0.25
    ports: ["8080"]
    tmpfs: "/tmp:size=16m"
    read_only: true
    ulimits: {nofile: 512}
    shm_size: 32m
    user: "1000"
    depends_on: [store]
    restart: no
  store:
    image: example/store
    environment: ["PASSWORD=${PASSWORD}"]
    entrypoint: [/bin/store, --fast]
    mem_limit: 0.25g
    cpus: 0.5
    pids_limit: 40
    ports: [5432]
    init: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
x-sandbox:
  title: Tiny stack
  description: |
    Two services,
    and nothing else.
  secrets: {TOKEN: {prefix: tk_}, PASSWORD: {length: 40}}
  endpoints:
    web: {service: web, port: 8080}
    store: {service: store, port: 5432, url: "store://{host}:{port}/x"}
  credentials:
    token: {value: "${TOKEN}"}
    store_url: {endpoint: store, value: "store://me:${PASSWORD}@{host}:{port}/x"}
  ready: [{endpoint: web, path: /ready}]
  reset: {service: store, command: [reset, --now]}
  requests: {service: web, line: "GET|POST"}
  seed: {things: 3}
"""


def tiny() -> dict[str, Any]:
    """Return a valid blueprint that a test may break."""
    parsed: dict[str, Any] = yaml.safe_load(TINY.replace("0.25g", "256m"))
    return parsed


def prepare_with_limits(settings: Any, folder: Path, **limits_of: Any) -> None:
    """Prepare blueprints with their own limits, by name; the first one is the default."""
    prepare(settings, folder, **{name: {"limits": own} for name, own in limits_of.items()})


def prepare(settings: Any, folder: Path, **sections: dict[str, Any]) -> None:
    """Prepare blueprints with these keys in their sections; the first one is the default."""
    settings.SANDBOX_BLUEPRINTS_DIR = folder
    settings.SANDBOX_DEFAULT_BLUEPRINT = next(iter(sections))
    for name, own in sections.items():
        written = tiny() | {"name": name}
        written["x-sandbox"] |= {"title": name.title()} | own
        for service in written["services"].values():
            del service["mem_limit"], service["cpus"]
        write(folder, written, name)
    with run_on_commit():
        call_command("blueprint", "prepare", verbosity=0)


def write(folder: Path, content: dict[str, Any] | str, name: str = "tiny") -> Path:
    (folder / name / "web").mkdir(parents=True, exist_ok=True)
    (folder / name / "web" / "Dockerfile").touch()
    file = folder / name / "compose.yaml"
    file.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return file


def problems_of(folder: Path, content: dict[str, Any] | str) -> list[Problem]:
    loaded, problems = load_blueprint(write(folder, content).parent, MEMORY_MB, CPUS)
    assert (loaded is None) == bool(problems)
    return problems
