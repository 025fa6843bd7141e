"""The doctor asks the process `streams`."""

from __future__ import annotations

from typing import Any

from sandboxes.doctor.findings import Level
from sandboxes.doctor.streams import streams
from tests.streams.conftest import running


def levels() -> list[Level]:
    return [finding.level for finding in streams()]


def test_a_process_that_runs_and_one_that_does_not(settings: Any) -> None:
    settings.STREAMS_URL = ""
    assert levels() == [Level.OK]
    settings.STREAMS_URL, settings.STREAMS_PORT = "http://127.0.0.1:9", 9
    assert levels() == [Level.WARNING, Level.ERROR]
    # Its portal doesn't answer, so that it can't refuse a token.
    with running(STREAMS_PORTAL_URL="http://127.0.0.1:9") as settings.STREAMS_URL:
        settings.STREAMS_PORT = int(settings.STREAMS_URL.rpartition(":")[2])
        findings = list(streams())
    assert [finding.level for finding in findings] == [Level.OK, Level.ERROR]
    assert "503" in findings[1].message
