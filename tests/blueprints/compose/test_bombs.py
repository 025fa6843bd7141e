"""Small files that stand for much: each is refused within a second and bounded memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from sandboxes.blueprints.compose.findings import Problem
from sandboxes.blueprints.loader import inspect

SECONDS = 1.0
MEMORY = 200 * 1024**2
"""Address space, besides what the tests have already."""
KB = 1024

Files = dict[str, str]
WEB = "services: {web: {image: x}}\n"


def service(text: str) -> Files:
    return {"compose.yaml": f"services:\n  web:\n    image: x\n{text}"}


def repeated(line: Callable[[int], str], times: int) -> str:
    return "".join(f"{line(number)}\n" for number in range(times))


BOMBS: dict[str, tuple[Files, str]] = {
    "spaces in a file of variables": (
        {"compose.yaml": WEB, ".env": f"A=x{' ' * 250 * KB}y\n"},
        "more than 100 spaces",
    ),
    "spaces, many times": (
        service("    env_file:\n" + "    - a.env\n" * 9000)
        | {"a.env": ("A=x" + (" " * 100 + "x") * 2500 + "\n")},
        "text",
    ),
    "a file of variables, many times": (
        service("    env_file:\n" + "    - a.env\n" * 1500)
        | {"a.env": repeated(lambda n: f"A{n}=1", 5000)},
        "repeat more than",
    ),
    "comments in a file of variables": (
        {"compose.yaml": WEB, ".env": "#\n" * 120 * KB},
        "repeat more than",
    ),
    "volumes of a service, many times": (
        {
            "compose.yaml": "services:\n  a:\n    image: x\n    volumes:\n"
            + repeated(lambda n: f"    - /v{n}", 2500)
            + "  b:\n    image: x\n    volumes_from:\n"
            + "    - a\n" * 3000
        },
        "repeat more than",
    ),
    "volumes": (
        service("    volumes:\n" + repeated(lambda n: f"    - /v{n}", 9000)),
        "more than 100 mounts",
    ),
    "a variable in a file of variables": (
        {
            "compose.yaml": WEB,
            ".env": f"A={'x' * 60 * KB}\n" + repeated(lambda n: f"B{n}=x$A", 16_000),
        },
        "of text",
    ),
    "a variable in the environment": (
        service("    environment:\n" + repeated(lambda n: f"      B{n}: x$A", 4800))
        | {".env": f"A={'x' * 60 * KB}\n"},
        "of text",
    ),
    "a variable in one text": (
        service(f"    command: ['{'$A' * 100 * KB}']\n") | {".env": f"A='{'$' * 60 * KB}'\n"},
        "longer than 64 KB",
    ),
    "conditions on a variable": (
        service(f"    command: ['{'${A:+}' * 40 * KB}']\n") | {".env": f"A='{'$' * 60 * KB}'\n"},
        "repeat more than",
    ),
    "variables that are not set": (
        service(f"    command: ['{'$U' * 100 * KB}']\n"),
        "repeat more than",
    ),
    "aliases of a long text": (
        service(f"    x-a: &a '{'x' * 200 * KB}'\n    command: [{'*a, ' * 9000}]\n"),
        "of text",
    ),
    "variables of a credential": (
        {
            "compose.yaml": WEB,
            "sandbox.yaml": "secrets:\n"
            + repeated(lambda n: f"  S{n}: {{}}", 2000)
            + f"credentials: {{a: {{value: '{'${X}' * 30_000}'}}}}\n",
        },
        "more than 2000 characters",
    ),
    "unknown variables of a process": (
        {
            "compose.yaml": WEB,
            "sandbox.yaml": "secrets:\n"
            + repeated(lambda n: f"  S{n}: {{}}", 2000)
            + "process: {web: {command: x, environment: {A: '"
            + "".join(f"${{X{n}}}" for n in range(20_000))
            + "'}}}\n",
        },
        "more than",
    ),
    "unknown profiles": (
        {
            "compose.yaml": f"services: {{web: {{image: x, profiles: {list(range(4000))}}}}}\n",
            "sandbox.yaml": f"profiles: {list(range(5000, 9000))}\n",
        },
        "No service has the profile",
    ),
    "services that extend each other": (
        {
            "compose.yaml": "services:\n  s0:\n    image: x\n    environment:\n"
            + repeated(lambda n: f"      A{n}: ''", 3000)
            + repeated(lambda n: f"  s{n + 1}: {{extends: s{n}}}", 600)
        },
        "repeat more than",
    ),
    "a chain of services": (
        {
            "compose.yaml": "services:\n  s600: {image: x}\n"
            + repeated(lambda n: f"  s{n}: {{extends: s{n + 1}}}", 600)
        },
        "services extend each other",
    ),
    "a file that is included many times": (
        {
            "compose.yaml": "include: [" + "a.yaml, " * 50 + "]\n",
            "a.yaml": "services:\n  web:\n    image: x\n    environment:\n"
            + repeated(lambda n: f"      A{n}: ''", 4000),
        },
        "repeat more than",
    ),
    "variables of included files": (
        {
            "compose.yaml": f"include: [{{path: a.yaml, env_file: [{'a.env, ' * 9000}]}}]\n",
            "a.yaml": WEB,
            "a.env": "A=1\n",
            ".env": repeated(lambda n: f"B{n}=1", 9000),
        },
        "repeat more than",
    ),
    "a long key": (
        service("    ? " + "k" * 200 * KB + "\n    : {}\n"),
        "more than 300 characters",
    ),
    "a long name": (
        service(f"    depends_on: ['{'x' * 200 * KB}']\n"),
        "Unknown service",
    ),
    "keys with dots": (
        {"compose.yaml": WEB, "sandbox.yaml": f"users: {{'{'a.' * 100 * KB}': root}}\n"},
        "more than 300 characters",
    ),
    "a set of patterns": (
        {
            "compose.yaml": WEB,
            "sandbox.yaml": "parameters:\n"
            + repeated(
                lambda n: f"  p{n}: {{type: string, default: '', pattern: '(\\w{{9{n}}}){{9}}'}}",
                10,
            ),
        },
        "pattern",
    ),
}


def write(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def inspect_within_limits(folder: Path, result: Connection) -> None:
    """Send the problems of a folder and the seconds that they took, from a process of its own."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    started = time.process_time()
    try:
        problems = list(inspect(folder, 512, 1.0).problems)
    except MemoryError:
        result.send((None, 0.0))
    else:
        result.send((problems, time.process_time() - started))


@pytest.mark.parametrize("name", BOMBS)
def test_a_blueprint_that_expands_without_bounds_is_refused_at_once(
    tmp_path: Path, name: str
) -> None:
    files, message = BOMBS[name]
    here, there = multiprocessing.Pipe(duplex=False)
    inspecting = multiprocessing.get_context("fork").Process(
        target=inspect_within_limits, args=(write(tmp_path, files), there)
    )
    inspecting.start()
    there.close()
    problems: list[Problem] | None
    problems, seconds = here.recv()
    inspecting.join()
    assert problems is not None, "out of memory"
    assert any(message in problem.message for problem in problems), problems[:3]
    assert all(problem.remedy and len(str(problem)) < 1500 for problem in problems)
    assert seconds < SECONDS
