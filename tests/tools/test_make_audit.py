"""`make audit` reports known vulnerabilities, and says so if no database answers."""

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


def fake_report(monkeypatch: pytest.MonkeyPatch, *packages: dict[str, Any], out: str = "") -> None:
    """Replace pip-audit's report on each file, from either database."""
    text = out or json.dumps({"dependencies": list(packages), "fixes": []})
    done = subprocess.CompletedProcess([], 0, text, "")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)


def test_a_known_vulnerability_fails_and_names_the_release_that_fixes_it(
    monkeypatch, capsys
) -> None:
    fake_report(monkeypatch, HARMLESS, BAD, SKIPPED)
    assert audit.main() == 1
    output = capsys.readouterr()
    assert "django 1.0: PYSEC-1, fixed in 1.1" in output.err
    assert "1 known vulnerabilities in 2 packages" in output.out


def test_without_known_vulnerabilities_it_reports_how_many_packages_were_checked(
    monkeypatch, capsys
) -> None:
    fake_report(monkeypatch, HARMLESS)
    assert audit.main() == 0
    assert "0 known vulnerabilities in 1 packages" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["", "ConnectionError"])
def test_without_an_answer_it_says_so_and_passes(monkeypatch, capsys, out) -> None:
    fake_report(monkeypatch, SKIPPED, out=out)
    assert audit.main() == 0
    output = capsys.readouterr().out
    assert output.count("no vulnerability database could be reached") == len(audit.PINNED)


def test_every_file_of_pinned_packages_is_audited() -> None:
    pinned = {str(path.relative_to(audit.ROOT)) for path in audit.ROOT.glob("*requirements*.txt")}
    blueprints = audit.ROOT / "sandboxes" / "blueprints"
    pinned |= {str(path.relative_to(audit.ROOT)) for path in blueprints.rglob("requirements.txt")}
    assert pinned == set(audit.PINNED)
