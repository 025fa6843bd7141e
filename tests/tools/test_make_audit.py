"""`make audit` finds what is known, and says so when it could not ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy"))
import audit

pytestmark = pytest.mark.tools

HARMLESS = {"name": "vine", "version": "5.1.0", "vulns": []}
SKIPPED = {"name": "vine", "skip_reason": "Dependency not found on PyPI"}
BAD = {
    "name": "django",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}],
}


def answer(monkeypatch: pytest.MonkeyPatch, *packages: dict[str, Any], out: str = "") -> None:
    """What pip-audit says about each file, whichever database it asks."""
    text = out or json.dumps({"dependencies": list(packages), "fixes": []})
    done = subprocess.CompletedProcess([], 0, text, "")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)


def test_a_known_vulnerability_fails_and_names_the_release_without_it(monkeypatch, capsys) -> None:
    answer(monkeypatch, HARMLESS, BAD, SKIPPED)
    assert audit.main() == 1
    said = capsys.readouterr()
    assert "django 1.0: PYSEC-1, mended in 1.1" in said.err
    assert "1 known vulnerabilities in 2 packages" in said.out


def test_where_none_is_known_it_says_of_how_many_packages(monkeypatch, capsys) -> None:
    answer(monkeypatch, HARMLESS)
    assert audit.main() == 0
    assert "0 known vulnerabilities in 1 packages" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["", "ConnectionError"])
def test_where_nobody_answers_it_says_so_and_fails_nothing(monkeypatch, capsys, out) -> None:
    answer(monkeypatch, SKIPPED, out=out)
    assert audit.main() == 0
    said = capsys.readouterr().out
    assert said.count("Not audited: no database") == len(audit.PINNED)


def test_every_file_of_pinned_packages_is_audited() -> None:
    pinned = {str(path.relative_to(audit.ROOT)) for path in audit.ROOT.glob("*requirements*.txt")}
    blueprints = audit.ROOT / "sandboxes" / "blueprints"
    pinned |= {str(path.relative_to(audit.ROOT)) for path in blueprints.rglob("requirements.txt")}
    assert pinned == set(audit.PINNED)
