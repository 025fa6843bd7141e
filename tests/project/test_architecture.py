"""Rules for the code as a whole: import direction, and which modules may do what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.project.layers import LAYERS

ROOT = Path(__file__).resolve().parents[2]
PORTAL = ROOT / "sandboxes"
OTHER_PROGRAMS = (PORTAL / "blueprints" / "billing", PORTAL / "cli")
"""Code that runs elsewhere: in sandboxes, and on the machines of developers."""

ENGINE_SIDE = {
    "authoring",
    "checks",
    "doctor",
    "management",
    "pool/reconcile.py",
    "preparation",
    "reaper",
    "usage/request_counts.py",
    "usage/sampling.py",
    "worker",
}
"""Parts that reach the engine: in the worker, in the reaper or in an operator's command."""


def modules(*folders: Path) -> list[Path]:
    found = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return [file for file in found if "migrations" not in file.parts and file.stat().st_size]


CODE = [f for f in modules(PORTAL, ROOT / "sandboxportal") if not {*OTHER_PROGRAMS} & {*f.parents}]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def part_of(file: Path) -> str:
    """Return the name in a layer: `api` for `sandboxes/api/pagination.py`."""
    return file.relative_to(PORTAL).parts[0].removesuffix(".py")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def imports(file: Path) -> Iterator[str]:
    """Return all modules that the file imports, as `package.module` or `package.module.name`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_parts(file: Path) -> set[str]:
    ours = (name.split(".") for name in imports(file) if name.startswith("sandboxes."))
    return {parts[1] for parts in ours}


def layer_of(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def functions(files: list[Path]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file in files:
        for node in ast.walk(tree(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name_of(file)}:{node.lineno} {node.name}", node


def test_every_part_is_in_exactly_one_layer():
    parts = {part_of(file) for file in CODE if PORTAL in file.parents} - {"__init__"}
    known = set().union(*LAYERS)

    assert parts == known
    assert len(known) == sum(map(len, LAYERS))


def upward_imports(file: Path) -> list[str]:
    part = part_of(file)
    if part == "__init__":
        return []
    others = sorted(our_parts(file) - {part})
    return [f"{name_of(file)}: {other}" for other in others if layer_of(other) >= layer_of(part)]


def test_imports_run_one_way():
    files = [file for file in CODE if PORTAL in file.parents]
    assert [upward for file in files for upward in upward_imports(file)] == []


def test_the_streams_process_imports_nothing_of_the_portal():
    files = modules(ROOT / "deploy" / "streams")
    assert files
    for file in files:
        used = {name.split(".")[0] for name in imports(file)}
        assert not used & {"django", "sandboxes", "sandboxportal"}, name_of(file)


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path, known: set[str]) -> set[str]:
    """Return the modules that the file imports, also for type checking alone."""
    nearest = ({name, name.rpartition(".")[0]} & known for name in imports(file))
    return {max(found, key=len) for found in nearest if found} - {module_of(file)}


def test_there_are_no_circular_imports():
    known = {module_of(file) for file in CODE}
    graph = {module_of(file): imported_modules(file, known) for file in CODE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_runtimes_do_not_import_the_portal():
    for file in modules(PORTAL / "runtime"):
        assert our_parts(file) <= {"runtime"}, name_of(file)


def test_compose_files_are_read_without_knowing_what_services_are():
    compose = "sandboxes.blueprints.compose."
    files = modules(PORTAL / "blueprints" / "compose" / "reading")
    used = {name for file in files for name in imports(file) if name.startswith(compose)}

    shared = {"budget", "findings", "tree", "values", "verdicts"}
    assert {name.removeprefix(compose).split(".")[0] for name in used} == {"reading", *shared}


def test_only_the_docker_runtime_imports_docker():
    home = PORTAL / "runtime" / "docker"
    users = {f for f in CODE if any(n.split(".")[0] == "docker" for n in imports(f))}
    assert users
    assert {name_of(f) for f in users if home not in f.parents} == set()


MAX_ENTRIES = 36
"""Of `sandboxes/`, so that its listing can be read."""
MAX_MODULES = 18
MAX_MODULES_OF = {"models": 24, "views": 24}


def test_packages_are_small_enough_to_find_a_module_by_looking():
    assert len([path for path in PORTAL.iterdir() if path.name != "__pycache__"]) <= MAX_ENTRIES

    packages = {file.parent for file in CODE if PORTAL in file.parents} - {PORTAL}
    sizes = {name_of(each): len([*each.glob("[!_]*.py")]) for each in packages}
    most = {f"sandboxes/{name}": number for name, number in MAX_MODULES_OF.items()}
    assert [name for name in sizes if sizes[name] > most.get(name, MAX_MODULES)] == []


def names(file: Path) -> Iterator[str]:
    """Return all names that the file imports or reads as attributes, without their qualifier."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def on_engine_side(file: Path) -> bool:
    return bool({part_of(file), str(file.relative_to(PORTAL))} & ENGINE_SIDE)


def test_only_worker_reaper_and_commands_reach_the_engine():
    outside = [file for file in CODE if PORTAL in file.parents and part_of(file) != "runtime"]
    reach = [f for f in outside if {"get_runtime", "DockerRuntime"} & set(names(f))]
    assert reach
    assert [name_of(file) for file in reach if not on_engine_side(file)] == []


TASKS = {
    node.name
    for file in PORTAL.rglob("tasks.py")
    for _, node in functions([file])
    if any("shared_task" in ast.unparse(decorator) for decorator in node.decorator_list)
}


def carried_out(file: Path) -> Iterator[str]:
    """Yield the tasks that the file calls directly instead of enqueueing them."""
    calls = (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))
    for call in calls:
        module, _, task = ast.unparse(call.func).rpartition(".")
        if module.endswith("tasks") and task in TASKS:
            yield f"{name_of(file)}:{call.lineno} {task}"


def test_only_the_engine_side_runs_tasks_instead_of_enqueueing_them():
    web = [f for f in CODE if PORTAL in f.parents and not on_engine_side(f)]
    assert [call for file in web for call in carried_out(file)] == []
    assert any(
        list(carried_out(ROOT / "tests" / name))
        for name in ("pool/test_claim.py", "helpers/scenarios.py")
    )


WRITES = {"claim", "update", "create", "get_or_create", "update_or_create", "bulk_create"}


def writes_state(node: ast.AST) -> bool:
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(t, ast.Attribute) and t.attr == "state" for t in targets)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        writes = called.rpartition(".")[2] in WRITES or called in {"Sandbox", "models.Sandbox"}
        return writes and any(keyword.arg == "state" for keyword in node.keywords)
    return False


def test_only_one_module_writes_the_states_of_sandboxes_and_one_those_of_save_points():
    writers = {name_of(f) for f in CODE for node in ast.walk(tree(f)) if writes_state(node)}
    assert writers == {"sandboxes/core/lifecycle.py", "sandboxes/core/save_points.py"}


def has_docstring(file: Path) -> bool:
    only_names = all(isinstance(n, (ast.ImportFrom, ast.Assign)) for n in tree(file).body)
    return bool(ast.get_docstring(tree(file)) or only_names)


def test_every_module_has_a_docstring():
    assert [name_of(file) for file in CODE if not has_docstring(file)] == []


def test_every_signature_is_annotated():
    bare = []
    for where, node in functions(CODE):
        takes = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [arg for arg in takes if arg.arg not in {"self", "cls"}]
        spread = [arg for arg in (node.args.vararg, node.args.kwarg) if arg]
        if node.returns is None or any(arg.annotation is None for arg in named + spread):
            bare.append(where)
    assert bare == []
