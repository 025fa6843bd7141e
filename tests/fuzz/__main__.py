"""`make fuzz`: run generated API calls, random lifecycles and the access matrix; publish both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import fuzz
from tests.fuzz import counts
from tests.socket_proxy.generated import KINDS, OUTCOMES
from tests.tools.reliability_report import Report, Table, TargetResult, publish

ACCESS_TESTS = "tests/access/test_access_matrix.py"
LIFECYCLE_TESTS = "tests/stateful/test_lifecycle.py"
API_TESTS = "tests/api/test_openapi.py::test_responses_to_generated_requests_match_the_document"
PROXY_TESTS = "tests/socket_proxy/test_generated_requests.py"
REQUIRED_CALLS = 10_000
REQUIRED_PROXY_REQUESTS = 20_000
COMMAND = "make fuzz"


class Failures:
    """The ids of the tests that failed."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.ids.append(report.nodeid)

    def of(self, tests: str) -> int:
        """Count the failures among these tests."""
        return sum(name.startswith(tests) for name in self.ids)


def fuzz_report(failures: Failures) -> Report:
    errors = sum(count for name, count in counts.items() if name.startswith("status 5"))
    calls, undocumented = counts["calls"], failures.of(API_TESTS)
    lifecycles, violations = counts["lifecycles"], failures.of(LIFECYCLE_TESTS)
    statuses = sorted(name for name in counts if name.startswith("status "))
    rows = [[name.removeprefix("status "), str(counts[name])] for name in statuses]
    return Report(
        COMMAND,
        [
            TargetResult(
                "Server errors in generated API calls",
                f"0 of {REQUIRED_CALLS:,}",
                f"{errors} of {calls:,}",
                errors == 0 and calls >= REQUIRED_CALLS,
            ),
            TargetResult(
                "API operations with undocumented responses",
                "0",
                str(undocumented),
                undocumented == 0,
            ),
            TargetResult(
                "Random sandbox lifecycles that violated an invariant",
                "0",
                f"{violations} of {lifecycles:,}, in {counts['steps']:,} steps",
                violations == 0,
            ),
        ],
        [Table("Responses to the generated calls", ["Status", "Calls"], rows)],
    )


def proxy_report(failures: Failures) -> Report:
    requests, let_through = counts["proxy requests"], failures.of(PROXY_TESTS)
    rows = [
        [kind, *(f"{counts[f'proxy {kind}: {outcome}']:,}" for outcome in OUTCOMES)]
        for kind in KINDS
    ]
    return Report(
        COMMAND,
        [
            TargetResult(
                "Generated requests to the socket proxy let through that should not be",
                f"0 of {REQUIRED_PROXY_REQUESTS:,}",
                f"{let_through} of {requests:,}, {counts['proxy engine requests']:,} of them "
                "in front of a real engine",
                let_through == 0 and requests >= REQUIRED_PROXY_REQUESTS,
            )
        ],
        [Table("Decisions of the socket proxy", ["Kind of request", *OUTCOMES], rows)],
    )


def access_report(failures: Failures) -> Report:
    from tests.access.environment import ROLES
    from tests.access.matrix import ADMIN_PATTERNS, MATRIX, rule_for
    from tests.access.routes import all_routes

    known = sum(rule_for(route.pattern) is not None for route in all_routes())
    violations, requests = failures.of(ACCESS_TESTS), counts["access requests"]
    rules = MATRIX | {name.replace(r"\w+", "…"): rule for name, rule in ADMIN_PATTERNS.items()}
    rows = [
        [f"`/{pattern}`", method, *(outcomes[role] for role in ROLES)]
        for pattern, rule in rules.items()
        for method, outcomes in rule.outcomes.items()
    ]
    return Report(
        COMMAND,
        [
            TargetResult(
                "Routes in the access matrix",
                "all",
                f"{known} of {len(all_routes())}",
                known == len(all_routes()),
            ),
            TargetResult(
                "Routes with another response, or with an unexpected write",
                "0",
                f"{violations}, in {requests:,} requests",
                violations == 0,
            ),
        ],
        [
            Table(
                "`login` is a redirect to the login page, `redirect` to any other page. All other "
                "methods and paths are denied to everyone",
                ["Path", "Method", *ROLES],
                rows,
            )
        ],
    )


PARTS: dict[str, tuple[list[str], Callable[[Failures], Report]]] = {
    "access": ([ACCESS_TESTS], access_report),
    "fuzz": ([LIFECYCLE_TESTS, API_TESTS], fuzz_report),
    "socket-proxy": ([PROXY_TESTS], proxy_report),
}
"""By part of the page: its tests, and how their results are reported."""


def main() -> int:
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--calls", type=int, default=REQUIRED_CALLS, help="generated API calls")
    parser.add_argument(
        "--lifecycles", "--lives", type=int, default=300, help="random sandbox lifecycles"
    )
    parser.add_argument(
        "--proxy-requests",
        type=int,
        default=REQUIRED_PROXY_REQUESTS,
        help="generated requests to the socket proxy",
    )
    parser.add_argument("--part", choices=PARTS, help="run and publish this part only")
    options = parser.parse_args()
    # The tests read these values when pytest imports them.
    fuzz.CALLS, fuzz.LIFECYCLES = options.calls, options.lifecycles
    fuzz.PROXY_REQUESTS = options.proxy_requests
    failures = Failures()
    parts = [options.part] if options.part else [*PARTS]
    tests = [test for part in parts for test in PARTS[part][0]]
    status = pytest.main(["-q", *tests], plugins=[failures])
    for part in parts:
        report = PARTS[part][1](failures)
        command = f"{COMMAND} PART={part}" if options.part else COMMAND
        publish(part, replace(report, command=command))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
