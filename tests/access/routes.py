"""Every address that the portal answers at, as Django's resolver knows them."""

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
class Address:
    """One address, its arguments in angle brackets: `sandboxes/<public_id>/card/`."""

    route: str
    name: str

    @property
    def arguments(self) -> list[str]:
        return CONVERTER.findall(self.route)

    def path(self, values: dict[str, object]) -> str:
        """Where it is with these values in place of its arguments. Raises KeyError."""
        return "/" + CONVERTER.sub(lambda found: str(values[found[1]]), self.route)


@cache
def addresses() -> tuple[Address, ...]:
    """All of them; where operations of the API share one, it is listed once."""
    found: dict[str, Address] = {}
    for address in _walk(get_resolver(), "", ""):
        found.setdefault(address.route, address)
    return tuple(sorted(found.values(), key=lambda address: address.route))


def _walk(resolver: URLResolver, before: str, namespace: str) -> Iterator[Address]:
    for entry in resolver.url_patterns:
        route = before + _readable(entry)
        if isinstance(entry, URLResolver):
            inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
            yield from _walk(entry, route, inner)
        else:
            yield Address(route, f"{namespace}{entry.name or ''}")


def _readable(entry: URLPattern | URLResolver) -> str:
    text = str(entry.pattern)
    if not isinstance(entry.pattern, RoutePattern):
        text = simplify_regex(text).removeprefix("/")
    return CONVERTER.sub(r"<\1>", text)
