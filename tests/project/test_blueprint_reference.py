"""The reference of `x-sandbox` in the documentation has the keys of its models."""

from __future__ import annotations

from tests.project.blueprint_reference import PAGE, reference, replaced


def test_the_reference_of_blueprints_is_current() -> None:
    page = PAGE.read_text()
    assert page == replaced(page), "Run `make reference`."
    assert "| `first_call` | [FirstCall](#firstcall) |  | The request that" in page
    assert "| `root` | list of text, at most 100 entries |" in page
    assert "| `idle_timeout` | duration, such as `90m` |" in page


def test_every_key_is_described() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert not [row for row in rows if row.endswith("|  |")]
