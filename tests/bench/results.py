"""The figures of one run: plain lists and numbers, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Results = dict[str, Any]
"""What each measurement gave back, by its name; under `failed`, why one gave nothing."""


@dataclass(frozen=True)
class Summary:
    """A series in three numbers, in the unit of its values."""

    p50: float
    p95: float
    n: int


def percentile(values: Sequence[float], percent: float) -> float:
    """The value under which so many percent lie, interpolated between the two nearest ones.

    Raises ValueError for an empty series.
    """
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(values: Sequence[float]) -> Summary:
    return Summary(percentile(values, 50), percentile(values, 95), len(values))


def rounded(found: Any) -> Any:
    """The same with its floats cut to what was really measured (0.01 ms, 0.01 MB)."""
    if isinstance(found, float):
        return round(found, 5)
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    if isinstance(found, list):
        return [rounded(value) for value in found]
    return found


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(results), separators=(",", ":")) + "\n")


def load(path: Path) -> Results:
    loaded: Results = json.loads(path.read_text())
    return loaded
