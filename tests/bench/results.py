"""The figures of one run: plain lists and numbers, stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Results = dict[str, Any]
"""The figures of each measurement by its name; under `failed`, the errors of failed ones."""


@dataclass(frozen=True)
class Summary:
    """Median, 95th percentile and length of a series, in the unit of its values."""

    p50: float
    p95: float
    n: int


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile, interpolated between the two nearest values.

    Raises ValueError for an empty series.
    """
    if not values:
        raise ValueError("the series is empty")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def summary(values: Sequence[float]) -> Summary:
    return Summary(percentile(values, 50), percentile(values, 95), len(values))


def rounded(value: Any) -> Any:
    """Round all floats to the precision of the measurements (0.01 ms, 0.01 MB)."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(results), separators=(",", ":")) + "\n")


def load(path: Path) -> Results:
    loaded: Results = json.loads(path.read_text())
    return loaded
