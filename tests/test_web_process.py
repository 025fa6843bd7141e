"""What the web process must not have: the engine's socket is root on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SERVE = """
import json, sys
import sandboxportal.wsgi
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from sandboxes.tokens import issue

call_command("migrate", verbosity=0)
call_command("createcachetable", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
user = User.objects.create_user("alice", "alice@example.com")
headers = {"authorization": "Bearer " + issue(user, "test")[1]}
client = Client(headers=headers)
launched = client.post("/api/v1/sandboxes", {}, content_type="application/json")
path = f"/api/v1/sandboxes/{launched.json()['id']}"
client.force_login(user)
statuses = [
    launched.status_code,
    client.get(path).status_code,
    client.get(path + "/events").status_code,
    client.get("/").status_code,
    client.delete(path).status_code,
]
print(json.dumps(statuses), "docker" in sys.modules)
"""


def test_serving_pages_and_the_api_never_imports_what_talks_to_the_engine(tmp_path: Path) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "sandboxportal.settings",
        "ALLOWED_HOSTS": "testserver",
        "SANDBOX_RUNTIME": "docker",
        "VAR_DIR": str(tmp_path),
    }
    served = subprocess.run(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert served.stdout.strip() == "[201, 200, 200, 200, 202] False", served.stderr
