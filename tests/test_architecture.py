"""Rules for the code as a whole: import direction, and which modules may do what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORTAL = ROOT / "sandboxes"
INSIDE_SANDBOXES = PORTAL / "blueprints" / "billing"

FLOORS = [
    {"clock", "errors", "foreign", "secrets", "runtime", "wire"},
    {"models", "blueprints", "openapi", "throttles"},
    {"lifecycle", "limits", "paging", "tokens", "verdicts"},
    {"accounts", "audit", "tallies", "rotation", "usage", "firewall", "links", "mails"},
    {"stellar", "notifications", "pool", "turns", "last_words"},
    {"provisioning", "admission", "estimates"},
    {"upkeep", "stocking", "counting"},
    {"tasks"},
    {"webhooks"},
    {"housekeeping", "sampling"},
    {"actions", "operations", "logs", "reaper"},
    {"presentation", "overview", "sweeping", "relay", "rescues"},
    {"attention", "figures"},
    {"forms", "checks", "health"},
    {"doctor"},
    {"templatetags"},
    {"views", "api", "admin", "management"},
    {"urls", "announcing"},
    {"apps", "middleware"},
]
"""Each part may import from the floors below it, and from itself."""

ENGINE_SIDE = {
    "last_words",
    "provisioning",
    "upkeep",
    "stocking",
    "counting",
    "tasks",
    "housekeeping",
    "sampling",
    "reaper",
    "management",
    "checks",
    "firewall",
    "doctor",
}
"""Who reaches the engine, in the worker, in the reaper or by an operator's command."""


def modules(*folders: Path) -> list[Path]:
    found = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return [file for file in found if "migrations" not in file.parts and file.stat().st_size]


CODE = [f for f in modules(PORTAL, ROOT / "sandboxportal") if INSIDE_SANDBOXES not in f.parents]


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def part_of(file: Path) -> str:
    """The name on a floor: `api` for `sandboxes/api/pagination.py`."""
    return file.relative_to(PORTAL).parts[0].removesuffix(".py")


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def imports(file: Path) -> Iterator[str]:
    """Every module that the file imports anywhere, as `package.module` or `package.module.name`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(file)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_parts(file: Path) -> set[str]:
    ours = (name.split(".") for name in imports(file) if name.startswith("sandboxes."))
    return {parts[1] for parts in ours}


def floor_of(part: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if part in floor)


def functions(files: list[Path]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file in files:
        for node in ast.walk(tree(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name_of(file)}:{node.lineno} {node.name}", node


def test_the_floors_hold_every_part_and_nothing_else():
    parts = {part_of(file) for file in CODE if PORTAL in file.parents} - {"__init__"}
    known = set().union(*FLOORS)

    assert parts - known == set(), "say on which floor it is"
    assert len(known) == sum(map(len, FLOORS))


def upward_imports(file: Path) -> list[str]:
    part = part_of(file)
    if part == "__init__":
        return []
    others = sorted(our_parts(file) - {part})
    return [f"{name_of(file)}: {other}" for other in others if floor_of(other) >= floor_of(part)]


def test_imports_run_one_way():
    files = [file for file in CODE if PORTAL in file.parents]
    assert [upward for file in files for upward in upward_imports(file)] == []


def test_a_runtime_knows_nothing_of_the_portal():
    for file in modules(PORTAL / "runtime"):
        assert our_parts(file) <= {"runtime"}, name_of(file)


def test_only_the_docker_runtime_knows_docker():
    home = PORTAL / "runtime" / "docker"
    users = {f for f in CODE if any(n.split(".")[0] == "docker" for n in imports(f))}
    assert users
    assert {name_of(f) for f in users if home not in f.parents} == set()


def names(file: Path) -> Iterator[str]:
    """Everything that the file takes from elsewhere or asks of something, by its bare name."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def test_only_worker_reaper_and_commands_reach_the_engine():
    outside = [file for file in CODE if PORTAL in file.parents and part_of(file) != "runtime"]
    reach = {part_of(f) for f in outside if {"get_runtime", "DockerRuntime"} & set(names(f))}
    assert reach
    assert reach - ENGINE_SIDE == set()


def carried_out(file: Path) -> Iterator[str]:
    """The tasks that the file calls by itself instead of having a worker do so."""
    calls = (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))
    for call in calls:
        module, _, task = ast.unparse(call.func).rpartition(".")
        if module == "tasks" and task != "enqueue":
            yield f"{name_of(file)}:{call.lineno} {task}"


def test_what_a_worker_is_for_is_never_done_where_it_was_asked_for():
    web = [f for f in CODE if PORTAL in f.parents and part_of(f) not in ENGINE_SIDE]
    assert [call for file in web for call in carried_out(file)] == []
    assert any(list(carried_out(ROOT / "tests" / name)) for name in ("test_pool.py", "acting.py"))


WRITES = {"update", "create", "get_or_create", "update_or_create", "bulk_create"}


def writes_state(node: ast.AST) -> bool:
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(t, ast.Attribute) and t.attr == "state" for t in targets)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        writes = called.rpartition(".")[2] in WRITES or called in {"Sandbox", "models.Sandbox"}
        return writes and any(keyword.arg == "state" for keyword in node.keywords)
    return False


def test_nothing_but_the_lifecycle_writes_a_state():
    writers = {name_of(f) for f in CODE for node in ast.walk(tree(f)) if writes_state(node)}
    assert writers == {"sandboxes/core/lifecycle.py"}


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
