"""The images on which a Dockerfile is based."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

HEREDOC = re.compile(r"<<-?([\"']?)(\w+)\1")
VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-+])([^}]*))?\}|(\w+))")
STAGE = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
SOURCES = re.compile(r"--(?:from=|mount=\S{0,300}?\bfrom=)([^,\s]+)")
SCRATCH = "scratch"


@dataclass
class Stage:
    """A stage of a build; `sources` are the images and stages that it starts or copies from."""

    name: str
    sources: list[str] = field(default_factory=list)


def base_images(dockerfile: str, args: Mapping[str, str], target: str = "") -> list[str]:
    """Return the images that are needed to build a target, by default the last stage; sorted.

    Names with variables that have no value are left out; the builder reports them.
    """
    found, stages = set(), list(read_stages(dockerfile, args))
    needed = [stages[-1]] if stages else []
    if wanted := find(stages, target):
        needed = [wanted]
    for stage in needed:
        earlier = stages[: stages.index(stage)]
        for source in stage.sources:
            if other := find(earlier, source):
                needed += [] if other in needed else [other]
            elif source != SCRATCH and source and "$" not in source:
                found.add(source)
    return sorted(found)


def find(stages: Sequence[Stage], reference: str) -> Stage | None:
    """Return the last stage of this name or number; None if there is none."""
    if reference.isdigit():
        return stages[int(reference)] if int(reference) < len(stages) else None
    named = (stage for stage in reversed(stages) if stage.name == reference.lower() != "")
    return next(named, None)


def read_stages(dockerfile: str, args: Mapping[str, str]) -> Iterator[Stage]:
    known: dict[str, str] = {}
    stage = None
    for instruction, rest in instructions(dockerfile):
        if instruction == "ARG" and not stage:
            for name, value in declared(rest):
                known[name] = args.get(name, substitute(value, known))
        elif instruction == "FROM" and (match := STAGE.match(rest)):
            if stage:
                yield stage
            stage = Stage((match[2] or "").lower(), [substitute(match[1], known)])
        elif instruction in ("COPY", "RUN", "ADD") and stage:
            stage.sources += SOURCES.findall(rest)
    if stage:
        yield stage


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions and their arguments, without comments and here-documents."""
    lines = iter(dockerfile.splitlines())
    for line in lines:
        text = line.strip()
        while text.endswith("\\") and not text.startswith("#"):
            following = next(lines, "").strip()
            text = text[:-1] + ("\\" if following.startswith("#") else following)
        if not text or text.startswith("#"):
            continue
        for _, end in HEREDOC.findall(text):
            for body in lines:
                if body.strip() == end:
                    break
        word, *rest = text.split(maxsplit=1)
        yield word.upper(), "".join(rest)


def declared(rest: str) -> Iterator[tuple[str, str]]:
    """Yield the names and default values of an ARG instruction."""
    for word in rest.split():
        name, _, value = word.partition("=")
        yield name, value.strip("\"'")


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace variables as in a shell: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`."""

    def replace(match: re.Match[str]) -> str:
        braced, operator, word, plain = match.groups()
        value = values.get(braced or plain, "")
        if operator and operator.endswith("-"):
            return value or substitute(word, values)
        if operator and operator.endswith("+"):
            return substitute(word, values) if value else ""
        return value or match[0]

    return VARIABLE.sub(replace, text)
