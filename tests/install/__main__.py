"""`make test-vm`: install the portal on virtual machines, and publish the outcomes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.tools.reliability_report import Report, Table, TargetResult, publish, summary_lines

TESTS = Path(__file__).parent
MAX_MINUTES = 40


class Outcomes:
    """The outcome and the seconds of each test, and the facts that tests recorded."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.facts: dict[str, object] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        module, _, test = report.nodeid.rpartition("/")[2].partition("::")
        name = f"{module.removeprefix('test_').removesuffix('.py')}: {_words(test)}"
        self.seconds[name] = self.seconds.get(name, 0) + report.duration
        if report.failed:
            self.failed.add(name)
        self.facts |= dict(report.user_properties)


def _words(test: str) -> str:
    return test.partition("[")[0].removeprefix("test_").replace("_", " ")


def report_of(outcomes: Outcomes, seconds: float) -> Report:
    minutes = seconds / 60
    checks = [
        TargetResult(
            name,
            "passes",
            f"{'failed' if name in outcomes.failed else 'passed'} after {taken:.0f} s",
            name not in outcomes.failed,
        )
        for name, taken in outcomes.seconds.items()
    ]
    total = TargetResult(
        "All of them", f"≤ {MAX_MINUTES} min", f"{minutes:.0f} min", minutes <= MAX_MINUTES
    )
    facts = [[name, str(fact)] for name, fact in outcomes.facts.items()]
    return Report("make test-vm", [*checks, total], [Table("The machine", ["", ""], facts)])


def main() -> int:
    outcomes = Outcomes()
    started = time.monotonic()
    status = pytest.main(
        ["-q", "-m", "virtual_machine", "-o", "addopts=", str(TESTS), *sys.argv[1:]], [outcomes]
    )
    report = report_of(outcomes, time.monotonic() - started)
    if sys.argv[1:]:
        # Only a part was run.
        print(*summary_lines(report), sep="\n")
    else:
        publish("virtual-machine", report)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
