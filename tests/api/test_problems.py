"""Problem responses lead to the documentation."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from sandboxes.api.problems import problem


@pytest.mark.django_db
@pytest.mark.parametrize("status", [401, 404, 422, 429])
def test_a_problem_links_to_the_section_that_helps(status: int) -> None:
    [(page, section)] = re.findall(
        r'^<(/docs/\w+/)#(.*)>; rel="help"$', problem(status, "")["Link"]
    )
    assert f'id="{section}"' in Client().get(page).content.decode()
