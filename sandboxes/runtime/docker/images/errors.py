"""Errors while images are made: what happened, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from docker.auth import resolve_repository_name
from docker.errors import InvalidRepository

from sandboxes.runtime import RuntimeFailure

MAX_REASON_LENGTH = 300

DISK_FULL = "Free disk space on the engine's machine, for example with `docker image prune`."
REMEDIES = (
    (r"no space left|disk quota exceeded", DISK_FULL),
    (r"toomanyrequests|rate limit", "Wait, or run `docker login{host}` to get a higher limit."),
    (
        r"unauthorized|authentication required|no basic auth|denied|docker login|\b401\b|\b403\b",
        "Correct the name, or run `docker login{host}` as the user who prepares blueprints.",
    ),
    (
        r"no matching manifest",
        "Use an image that is built for the engine's platform.",
    ),
    (
        r"manifest unknown|manifest .*not found|name unknown|invalid reference|: not found",
        "Correct the image's name or tag.",
    ),
    (
        r"x509|certificate|HTTP response to HTTPS",
        "Give the engine the authority of {registry}: /etc/docker/certs.d/{registry}/ca.crt.",
    ),
    (
        r"no such host|connection refused|timeout|timed out|unreachable|connection reset|EOF",
        "Check that the engine reaches {registry}, or load the image with `docker load`.",
    ),
)
"""What to do about a registry's or an engine's explanation, by what it contains."""
OTHER_REMEDY = "Try `docker pull {reference}` on the engine's machine."


class ImageError(RuntimeFailure):
    """An image couldn't be made.

    `place` is the key of the blueprint, `output` has the last lines of a build.
    """

    def __init__(self, message: str, remedy: str, *, place: str = "", output: str = "") -> None:
        super().__init__(message)
        self.message, self.remedy, self.place, self.output = message, remedy, place, output

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.message} {self.remedy}"


@contextmanager
def at(place: str) -> Iterator[None]:
    """Name the place in errors that don't have one yet."""
    try:
        yield
    except ImageError as error:
        error.place = error.place or place
        raise


def pull_error(reference: str, reason: object) -> ImageError:
    """Return the error for an image that couldn't be pulled, with a remedy for the reason."""
    text = one_line(reason)
    pattern = (remedy for words, remedy in REMEDIES if re.search(words, text, re.IGNORECASE))
    host = registry_of(reference)
    remedy = next(pattern, OTHER_REMEDY).format(
        reference=reference,
        registry=host or "Docker Hub",
        host=f" {host}" if host else "",
    )
    return ImageError(f"The image {reference} couldn't be pulled: {text}.", remedy)


def registry_of(reference: str) -> str:
    """Return the host of an image's registry; empty for Docker Hub."""
    try:
        host = str(resolve_repository_name(reference)[0])
    except InvalidRepository:
        return ""
    return "" if host == "docker.io" else host


def one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:MAX_REASON_LENGTH].rstrip(".")
