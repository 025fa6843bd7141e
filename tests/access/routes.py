"""Every route of the portal, as Django's resolver knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from django.contrib.admindocs.views import simplify_regex
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """A route, with its arguments in angle brackets: `sandboxes/<public_id>/card/`."""

    pattern: str
    name: str

    @property
    def arguments(self) -> list[str]:
        return CONVERTER.findall(self.pattern)

    def path(self, values: dict[str, object]) -> str:
        """Return the path with these values of the arguments. Raises KeyError if one is missing."""
        return "/" + CONVERTER.sub(lambda match: str(values[match[1]]), self.pattern)


@cache
def all_routes() -> tuple[Route, ...]:
    """Return all routes by pattern. Operations of the API that share a path are one route."""
    routes: dict[str, Route] = {}
    for route in _walk(get_resolver(), "", ""):
        routes.setdefault(route.pattern, route)
    return tuple(sorted(routes.values(), key=lambda route: route.pattern))


def _walk(resolver: URLResolver, prefix: str, namespace: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        pattern = prefix + _simplified(entry)
        if isinstance(entry, URLResolver):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _walk(entry, pattern, inner)
        else:
            yield Route(pattern, f"{namespace}{entry.name or ''}")


def _simplified(entry: URLPattern | URLResolver) -> str:
    text = str(entry.pattern)
    if not isinstance(entry.pattern, RoutePattern):
        text = simplify_regex(text).removeprefix("/")
    return CONVERTER.sub(r"<\1>", text)
