"""Try a blueprint: launch it once, look at it, reset it, measure it, and remove it.

A trial belongs to an instance of its own, `<SANDBOX_INSTANCE>-try`, so that the reaper of a running
portal doesn't see it. Its images have names of their own, too. Those of the last trial of a
blueprint stay, so that the next trial is fast.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from django.conf import settings

from sandboxes import stellar
from sandboxes.authoring.errors import AuthoringError
from sandboxes.authoring.locations import MAX_NAME_LENGTH
from sandboxes.blueprints import Blueprint, addresses, folders
from sandboxes.blueprints.parameters import InvalidValue, Value, variable_texts
from sandboxes.lib import clock
from sandboxes.preparation import images
from sandboxes.runtime import (
    ImageMissing,
    Runtime,
    RuntimeFailure,
    SandboxFacts,
    SandboxSpec,
    get_runtime,
)
from sandboxes.runtime.docker import DockerRuntime
from sandboxes.runtime.process.runtime import ProcessRuntime

RESET_SECONDS = 20.0
PROBE_SECONDS = 5.0
LOG_LINES = 20
"""Lines of each service's log that an error shows."""
STEPS = {
    "network": "Creating the network.",
    "containers": "Starting the services.",
    "ready": "Waiting until the sandbox is ready.",
}

Log = Callable[[str], None]


class TrialFailed(AuthoringError):
    """The blueprint couldn't be launched or reset; with each service's state and last log lines."""

    def __init__(self, message: str, remedy: str, services: Mapping[str, ServiceReport]) -> None:
        super().__init__(message, remedy)
        self.services = services


@dataclass(frozen=True)
class ServiceReport:
    """The state of a service, and the last lines of its log."""

    state: str
    log: str


@dataclass
class Outcome:
    """What a trial found out. Times are in seconds, sizes in MB."""

    sandbox_id: str
    endpoints: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    prepare_seconds: float = 0.0
    start_seconds: float = 0.0
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    reset_seconds: float = 0.0
    reset_by: str = ""
    """`command` or `recreating`."""
    memory_mb: float | None = None
    memory_limit_mb: int = 0
    disk_mb: float | None = None
    """None if the engine can't measure it."""
    disk_limit_mb: int = 0
    services: Mapping[str, ServiceReport] = field(default_factory=dict)
    kept: bool = False


def trial_runtime() -> Runtime:
    """Return the runtime for trials: the portal's own, with another instance."""
    instance = f"{settings.SANDBOX_INSTANCE}-try"
    if settings.SANDBOX_RUNTIME == "docker":
        return DockerRuntime.from_settings(instance)
    if settings.SANDBOX_RUNTIME == "process":
        return ProcessRuntime.from_settings(instance, Path(f"{settings.SANDBOX_PROCESS_DIR}-try"))
    return get_runtime()


def load(folder: Path, name: str) -> Blueprint:
    """Return the valid blueprint in a folder, under a name of its own. Raises AuthoringError."""
    own_name = f"{folders.TRIAL_PREFIX}{name}"[:MAX_NAME_LENGTH].rstrip("-_")
    inspection = folders.inspect_folder(folder, own_name)
    if inspection.blueprint is None:
        problem = inspection.problems[0]
        raise AuthoringError(str(problem), problem.remedy)
    if not inspection.blueprint.supports_runtime(settings.SANDBOX_RUNTIME):
        raise AuthoringError(
            "The blueprint needs containers, and the portal's sandboxes are processes.",
            "Set SANDBOX_RUNTIME=docker, or add x-sandbox.process.",
        )
    return inspection.blueprint


def parse_parameters(blueprint: Blueprint, words: Iterable[str]) -> dict[str, Value]:
    """Return the values of `NAME=VALUE` arguments. Raises AuthoringError."""
    values = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise AuthoringError(f"--parameter {word} has no value.", "Write NAME=VALUE.")
        if name not in blueprint.parameters:
            known = ", ".join(blueprint.parameters) or "none"
            raise AuthoringError(f"Unknown parameter {name}.", f"The blueprint has: {known}.")
        try:
            values[name] = blueprint.parameters[name].parse(text)
        except InvalidValue as error:
            raise AuthoringError(
                f"The parameter {name} has an invalid value.", str(error)
            ) from None
    return values


@dataclass
class Trial:
    """One launch of a blueprint. Leave the `running` block to remove it."""

    blueprint: Blueprint
    runtime: Runtime
    log: Log
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """Values other than the blueprint's defaults."""
    keep: bool = False
    log_lines: int = LOG_LINES
    outcome: Outcome = field(init=False)

    def __post_init__(self) -> None:
        self.outcome = Outcome(f"try_{secrets.token_hex(6)}")

    @property
    def id(self) -> str:
        return self.outcome.sandbox_id

    def prepare(self) -> None:
        """Pull or build the images, and pin them. Raises RuntimeFailure."""
        self.log("Preparing the images.")
        start = time.monotonic()
        with images.exclusive(self.blueprint, self.log):
            ids = self._ensure_images()
        self.blueprint = replace(self.blueprint, image_ids=ids)
        self.outcome.prepare_seconds = time.monotonic() - start

    def _ensure_images(self) -> dict[str, str]:
        """Make the images, remove those of the last trial, and return their ids."""
        if isinstance(self.runtime, ProcessRuntime):
            images.prepare_templates([self.blueprint], self.log, runtime=self.runtime)
        else:
            images.ensure(self.blueprint, self.log)
        ids = self.runtime.images(self.blueprint.images)
        if missing := [name for name in self.blueprint.images if name not in ids]:
            raise ImageMissing(f"The engine doesn't have the image {', '.join(missing)}.")
        with suppress(RuntimeFailure):
            images.remove_old(self.blueprint, set(ids.values()))
        return ids

    @contextmanager
    def running(self) -> Iterator[Outcome]:
        """Launch the sandbox, reset it, and remove it in the end unless it is to be kept.

        After an error or an interruption, it is removed in any case. Raises TrialFailed.
        """
        done = False
        try:
            spec = self._spec()
            self._launch(spec)
            self._measure()
            self._reset(spec)
            yield self.outcome
            done = self.keep
        except RuntimeFailure as error:
            remedy = "Correct the blueprint; the last log lines of its services may show the cause."
            raise TrialFailed(str(error), remedy, self._services()) from error
        finally:
            if not done:
                self._remove()
        self.outcome.kept = done

    def _remove(self) -> None:
        self.log("Removing the sandbox.")
        try:
            remove(self.runtime, self.id)
        except RuntimeFailure as error:
            raise AuthoringError(
                f"{self.id} couldn't be removed: {error}",
                f"Run `manage.py blueprint try --remove {self.id}` once the engine answers.",
            ) from error

    def _spec(self) -> SandboxSpec:
        values = self._secrets = self.blueprint.new_secrets()
        variables = {
            **variable_texts(self.parameters),
            **values,
            "SANDBOX_ID": self.id,
            "SANDBOX_LAUNCHED_AT": clock.now().isoformat(),
        }
        if self.blueprint.stellar:
            variables["SANDBOX_STELLAR_PUBLIC_KEY"], values["STELLAR_SECRET"] = (
                stellar.new_key_pair()
            )
        self.outcome.memory_limit_mb = self.blueprint.memory_mb
        self.outcome.disk_limit_mb = self.blueprint.disk_mb
        return self.blueprint.spec(self.id, variables, self.outcome.disk_limit_mb)

    def _launch(self, spec: SandboxSpec) -> None:
        start = time.monotonic()
        began: dict[str, float] = {}

        def report(step: str) -> None:
            if step not in began:
                began[step] = time.monotonic()
                self.log(STEPS.get(step, step))

        facts = self.runtime.create(spec, report, float(settings.SANDBOX_PROVISION_TIMEOUT_SECONDS))
        end = time.monotonic()
        ends = [*list(began.values())[1:], end]
        self.outcome.step_seconds = {
            step: until - at for (step, at), until in zip(began.items(), ends, strict=True)
        }
        self.outcome.start_seconds = end - start
        self._note_addresses(facts)

    def _note_addresses(self, facts: SandboxFacts) -> None:
        found = addresses(facts)
        self.outcome.endpoints = self.blueprint.endpoint_urls(found)
        self.outcome.credentials = self.blueprint.fill_credentials(self._secrets, found)

    def _measure(self) -> None:
        """Measure the sandbox right after its start, and read its logs."""
        usage = self.runtime.usage([self.id]).get(self.id)
        facts = self.runtime.observe(self.id, sizes=True).get(self.id)
        self.outcome.memory_mb = usage.memory_mb if usage else None
        sizes = [one.disk_mb for one in (facts, usage) if one and one.disk_mb is not None]
        self.outcome.disk_mb = sizes[0] if sizes else None
        self.outcome.services = self._services()

    def _reset(self, spec: SandboxSpec) -> None:
        start = time.monotonic()
        reset = self.blueprint.reset
        if reset and (command := reset.command_for(settings.SANDBOX_RUNTIME)):
            self.log("Resetting the data with the blueprint's command.")
            self.outcome.reset_by = "command"
            code, output = self.runtime.execute(self.id, reset.service, command, RESET_SECONDS)
            if code != 0:
                raise TrialFailed(
                    f"The reset command failed with exit code {code}: {output.strip()[-500:]}",
                    "Correct x-sandbox.reset, or remove it: the services are then recreated.",
                    self._services(),
                )
            self._require_response()
        else:
            self.log("Resetting the data by recreating the services.")
            self.outcome.reset_by = "recreating"
            seconds = float(settings.SANDBOX_PROVISION_TIMEOUT_SECONDS)
            self._note_addresses(self.runtime.recreate(spec, lambda _: None, seconds))
        self.outcome.reset_seconds = time.monotonic() - start

    def _require_response(self) -> None:
        facts = self.runtime.observe(self.id).values()
        found = self.runtime.probe(facts, {self.id: self.blueprint.ready}, PROBE_SECONDS)
        if (result := found.get(self.id)) and result.problem:
            raise TrialFailed(
                f"After the reset, the sandbox doesn't respond as it should: {result.problem}",
                "Correct the command in x-sandbox.reset.",
                self._services(),
            )

    def _services(self) -> dict[str, ServiceReport]:
        """Return the states and logs of the services that exist; empty if the engine is gone."""
        found: dict[str, ServiceReport] = {}
        with suppress(RuntimeFailure):
            facts = self.runtime.observe(self.id).get(self.id)
            for name, one in sorted(facts.services.items()) if facts else ():
                code = "" if one.exit_code is None else f", exit code {one.exit_code}"
                memory = ", out of memory" if one.out_of_memory else ""
                text = self.runtime.logs(self.id, name, self.log_lines)
                found[name] = ServiceReport(f"{one.state.value}{code}{memory}", text.rstrip())
        return found


def remove(runtime: Runtime, sandbox_id: str) -> None:
    """Remove a trial. Raises RuntimeFailure."""
    runtime.destroy(sandbox_id)


def kept(runtime: Runtime) -> list[str]:
    """Return the ids of trials that exist: kept, running, or left by a killed command."""
    return sorted(runtime.observe())


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome in a form that can be written as JSON."""
    services = {
        name: {"state": one.state, "log": one.log} for name, one in outcome.services.items()
    }
    return {**vars(outcome), "services": services}
