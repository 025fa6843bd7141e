"""Validate the parameters and metadata of a launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sandboxes import blueprints
from sandboxes.blueprints import Blueprint
from sandboxes.blueprints.parameters import InvalidValue, Value
from sandboxes.lib import names
from sandboxes.lib.exceptions import ValidationFailed
from sandboxes.models import Sandbox
from sandboxes.models.metadata_entry import MAX_KEY_LENGTH, MAX_METADATA_PAIRS, MAX_VALUE_LENGTH


def validate_parameters(blueprint: Blueprint, chosen: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of all parameters. Raises ValidationFailed, with all invalid ones."""
    values = blueprint.default_parameters
    errors = []
    for name, value in chosen.items():
        field = f"parameters.{name}"
        if name not in blueprint.parameters:
            known = ", ".join(blueprint.parameters) or "none"
            errors.append((field, f"Unknown parameter. “{blueprint.title}” has {known}."))
            continue
        try:
            values[name] = blueprint.parameters[name].check(value)
        except InvalidValue as error:
            errors.append((field, str(error)))
    _raise_all(errors)
    return values


def parameters_to_repeat(sandbox: Sandbox) -> dict[str, Value]:
    """Return the parameters of a sandbox that a new one of its blueprint still takes."""
    blueprint = blueprints.available().get(sandbox.blueprint)
    values: dict[str, Value] = {}
    for name, parameter in blueprint.parameters.items() if blueprint else ():
        with suppress(KeyError, InvalidValue):
            values[name] = parameter.check(sandbox.parameters[name])
    return values


def validate_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata. Raises ValidationFailed, with all invalid keys."""
    if len(metadata) > MAX_METADATA_PAIRS:
        message = f"Send at most {MAX_METADATA_PAIRS} pairs (these are {len(metadata)})."
        raise ValidationFailed("metadata", message)
    _raise_all(list(_metadata_errors(metadata)))
    return dict(metadata)


def _metadata_errors(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in metadata.items():
        field = f"metadata.{key[:MAX_KEY_LENGTH]}"
        if (
            not 0 < len(key) <= MAX_KEY_LENGTH
            or set(key) & set("[]")
            or names.character_problem(key)
        ):
            yield (
                field,
                f"Use a key of 1 to {MAX_KEY_LENGTH} printable characters, without brackets.",
            )
        elif not isinstance(value, str):
            yield field, "Must be a string."
        elif len(value) > MAX_VALUE_LENGTH:
            length = len(value)
            yield field, f"Use at most {MAX_VALUE_LENGTH} characters (these are {length})."
        elif problem := names.character_problem(value, may_have_lines=True):
            yield field, problem


def _raise_all(errors: list[tuple[str, str]]) -> None:
    """Raise ValidationFailed if there are errors."""
    if errors:
        raise ValidationFailed(*errors[0], others=errors[1:])
