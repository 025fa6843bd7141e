"""The commands of the guide, pasted into a shell one after the other, do what it says."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.billing.harness import API_KEY, ROOT, ApiClient

pytestmark = pytest.mark.postgres

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GIVEN = ("KEY=", "API=", "RECEIVER=")
"""Values that a reader copies from the portal."""


def test_the_guide_leads_to_a_renewed_failed_and_recovered_subscription(api: ApiClient) -> None:
    guide = (ROOT / "docs" / "billing-guide.md").read_text()
    lines = "".join(BLOCK.findall(guide)).splitlines()
    given = [f"KEY={API_KEY}", f"API={str(api.base_url).rstrip('/')}"]
    given.append("RECEIVER=https://portal.example/inbox/sbx_0123456789abcdef")
    script = [*given, *(line for line in lines if not line.startswith(GIVEN))]
    done = subprocess.run(
        ["bash", "-eu"], input="\n".join(script), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [one for one in answers if "detail" in one] == []
    states = [one["status"] for one in answers if str(one.get("id")).startswith("sbn_")]
    assert states == ["active", "past_due", "active"]
    subscription = next(one["id"] for one in answers if str(one.get("id")).startswith("sbn_"))
    types = [one["type"] for one in api.list_all(f"/v1/events?object_id={subscription}&limit=100")]
    for type_of in ("created", "renewed", "past_due", "recovered"):
        assert f"subscription.{type_of}" in types
