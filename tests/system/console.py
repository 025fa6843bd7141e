"""A Python process with a portal's settings, which runs code and starts only once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from tests.harness.portal import ROOT

PROGRAM = """
import contextlib, io, json, sys, traceback
import django
django.setup()
from django.db import close_old_connections
for line in sys.stdin:
    output, failure = io.StringIO(), ""
    with contextlib.redirect_stdout(output):
        close_old_connections()
        try:
            exec(json.loads(line), {})
        except BaseException:
            failure = traceback.format_exc()
    print(json.dumps([output.getvalue(), failure]), flush=True)
"""


class Console:
    """Starts with the first call of `run`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def run(self, code: str) -> str:
        """Run the code, and return what it prints. Raises AssertionError if it fails."""
        process = self._process = self._process or subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(code) + "\n")
        process.stdin.flush()
        output, failure = json.loads(process.stdout.readline())
        assert not failure, output + failure
        return str(output)

    def sweep(self) -> None:
        self.run("from django.core.management import call_command; call_command('reap_sandboxes')")

    def close(self) -> None:
        if self._process:
            self._process.communicate(timeout=30)
