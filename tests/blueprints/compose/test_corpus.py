"""Most public Compose files need nothing but a `sandbox.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.compose.corpus import judge

BAR = 0.85


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.exhaustive)])
def test_most_public_files_pass_untouched(tmp_path: Path, count: int) -> None:
    share, reasons = judge(tmp_path, count)
    assert share >= BAR, reasons.most_common()
    assert not [reason for reason in reasons if "not part of the Compose" in reason]
