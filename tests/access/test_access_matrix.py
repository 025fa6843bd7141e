"""Who gets what from every address, by every method: the matrix, held against the portal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandboxes.runtime import get_runtime
from tests.access.environment import PEOPLE, World, build, undone
from tests.access.matrix import MATRIX, REFUSALS, Line, line_of
from tests.access.routes import Address, addresses

if TYPE_CHECKING:
    from django.http import HttpResponse
    from pytest_django.plugin import DjangoDbBlocker

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CHANGES = {*METHODS} - {"GET"}
KNOWN = [address for address in addresses() if line_of(address.route)]
GUARDS = (
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
)
"""Headers that every answer has, besides that no cache keeps it."""
CHANGE_NOTHING = {"/api/v1/docs", "/api/v1/openapi.json", "/admin/password_change/"}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Nothing that a test asks for happens in the end, so one will do for all."""
    get_runtime.cache_clear()
    # More than a thousand refusals, each with a line in the log.
    logging.disable()
    with django_db_blocker.unblock(), undone():
        yield build()
    logging.disable(logging.NOTSET)
    get_runtime.cache_clear()


def as_it_is(world: World, address: Address) -> str:
    """The line that the address would have if all were well with it now."""
    words = {
        method: [world.ask(who, method, world.path(address)).word for who in PEOPLE]
        for method in METHODS
    }
    told = {
        method: " ".join(answers)
        for method, answers in words.items()
        if not REFUSALS.issuperset(answers)
    }
    said = ", ".join(f'{method}="{answers}"' for method, answers in told.items())
    return f'    "{address.route}": line({said}),'


def test_every_address_has_a_line(world: World) -> None:
    lines = [as_it_is(world, one) for one in addresses() if not line_of(one.route)]
    advice = "Add what is right of this to a table in tests/access/matrix.py:"
    assert lines == [], "\n".join([advice, *lines])


def test_no_line_is_of_an_address_that_is_gone() -> None:
    assert MATRIX.keys() - {address.route for address in addresses()} == set()


@pytest.mark.parametrize("address", KNOWN, ids=lambda address: address.route or "/")
def test_everybody_gets_what_the_matrix_says(world: World, address: Address) -> None:
    line, path = line_of(address.route), world.path(address)
    assert line
    for method in METHODS:
        data = line.data if method in ("POST", "PATCH") and line.data else None
        for who in PEOPLE:
            answer = world.ask(who, method, path, data)
            said = f"{method} {path} by {who}: {answer.word}"
            if method in line.answers:
                assert answer.word == line.answers[method][who], said
            else:
                # A method that a view does not look at is as good as GET.
                assert answer.word in REFUSALS | {line.answers.get("GET", {}).get(who)}, said
            assert lacking(answer.response) == set(), said
            if not acts(line, method) or (answer.word in REFUSALS and not line.keyed):
                assert answer.wrote == set(), f"{said}, and it wrote"


def lacking(response: HttpResponse) -> set[str]:
    """What of the headers that protect readers is not there."""
    missing = set(GUARDS) - set(response.headers)
    return missing if "no-store" in response["Cache-Control"] else {*missing, "no-store"}


def acts(line: Line, method: str) -> bool:
    """Whether it may change anything."""
    return line.noted if method == "GET" else method in line.answers


@pytest.mark.parametrize(
    "address",
    [
        one
        for one in KNOWN
        if (line := line_of(one.route)) and not line.keyed and CHANGES & line.answers.keys()
    ],
    ids=lambda address: address.route,
)
def test_no_other_site_has_a_signed_in_browser_change_anything(
    world: World, address: Address
) -> None:
    line, path = line_of(address.route), world.path(address)
    assert line
    for method in CHANGES & line.answers.keys():
        for who in ("owner", "operator"):
            answer = world.ask(who, method, path, line.data or None, csrf=False)
            assert answer.wrote == set(), f"{method} {path} by {who}: {answer.word}"
            assert answer.word == "403" or path in CHANGE_NOTHING, f"{path} by {who}: {answer.word}"
