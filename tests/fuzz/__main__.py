"""`make fuzz`: generated calls, random lives and the access matrix, counted and published."""

from __future__ import annotations

import argparse
import sys

import pytest

from tests import fuzz as ordered
from tests.fuzz import counted
from tests.tools.reliability_report import Bar, Results, Table, publish

TESTS = [
    "tests/access/test_access_matrix.py",
    "tests/stateful/test_lifecycle.py",
    "tests/test_api_specification.py::test_whatever_is_sent_the_answer_is_one_that_is_described",
]
COMMAND = "make fuzz"


class Failures:
    """The tests that failed, by the file they are in."""

    def __init__(self) -> None:
        self.of: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.of.append(report.nodeid)

    def in_(self, file: str) -> int:
        return sum(file in name for name in self.of)


def fuzz(failures: Failures) -> Results:
    errors = sum(count for word, count in counted.items() if word.startswith("answer 5"))
    calls, broken = counted["calls"], failures.in_("test_api_specification")
    lives, wrong = counted["lives"], failures.in_("tests/stateful/test_lifecycle.py")
    statuses = sorted(word for word in counted if word.startswith("answer "))
    answers = [[word.removeprefix("answer "), str(counted[word])] for word in statuses]
    return Results(
        COMMAND,
        [
            Bar("server errors in generated API calls", "0 of 10,000", f"{errors} of {calls:,}",
                errors == 0 and calls >= 10_000),
            Bar("operations with an answer that is not described", "0", str(broken), broken == 0),
            Bar("random lives of sandboxes in which something did not hold", "0",
                f"{wrong} of {lives:,}, in {counted['steps']:,} steps", wrong == 0),
        ],
        [Table("Answers to the generated calls", ["status", "calls"], answers)],
    )  # fmt: skip


def access(failures: Failures) -> Results:
    from tests.access.environment import PEOPLE
    from tests.access.matrix import CONSOLE_FAMILIES, MATRIX, line_of
    from tests.access.routes import addresses

    known = sum(line_of(one.route) is not None for one in addresses())
    wrong, asked = failures.in_("tests/access/test_access_matrix.py"), counted["questions"]
    lines = MATRIX | {name.replace(r"\w+", "…"): one for name, one in CONSOLE_FAMILIES.items()}
    rows = [
        [f"`/{route}`", method, *(words[who] for who in PEOPLE)]
        for route, line in lines.items()
        for method, words in line.answers.items()
    ]
    return Results(
        COMMAND,
        [
            Bar("addresses that are in the matrix", "all", f"{known} of {len(addresses())}",
                known == len(addresses())),
            Bar("addresses with another answer, or that wrote what they may not", "0",
                f"{wrong}, after {asked:,} questions", wrong == 0),
        ],
        [Table("`in` is a redirect to signing in, `on` one to another page; a method or an address "
               "that is not listed is refused to everybody", ["address", "method", *PEOPLE], rows)],
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--lives", type=int, default=300)
    wanted = parser.parse_args()
    # Before the tests are loaded, which plan by it.
    ordered.CALLS, ordered.LIVES = wanted.calls, wanted.lives
    failures = Failures()
    status = pytest.main(["-q", *TESTS], plugins=[failures])
    publish("fuzz", fuzz(failures))
    publish("access", access(failures))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
