"""The reference of `x-sandbox` in the documentation has the keys of its models."""

from __future__ import annotations

from tests.project.blueprint_reference import PAGE, replaced


def test_the_reference_of_blueprints_is_current() -> None:
    page = PAGE.read_text()
    assert page == replaced(page), "Run `make reference`."
    assert "| `first_call` | FirstCall |" in page
