"""Most public Compose files need nothing but a `sandbox.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.compose.corpus import judge

BAR = 0.85


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.exhaustive)])
def test_most_public_files_pass_untouched(tmp_path: Path, count: int) -> None:
    result = judge(tmp_path, count)
    assert result.share >= BAR, result.reasons.most_common()
    unknown = ("not part of the Compose", "Invalid YAML", "can't be loaded")
    assert not [reason for reason in result.reasons if any(map(reason.__contains__, unknown))]
