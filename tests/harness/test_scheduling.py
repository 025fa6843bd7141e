"""Files stay together, and one worker runs quick files while the others wait in slow ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.harness.scheduling import work_unit

ROOT = Path(__file__).resolve().parents[2]
BEGINS = "from pathlib import Path\ndef test(): Path('begun').touch()"
BESIDE = "until [ -e begun ]; do sleep 0.02; done; sleep 0.2; touch ended"
"""Ends after a test has begun in a worker that doesn't wait."""
RUNS_LAST = """
import os
from pathlib import Path

def test():
    assert Path("ended").exists()
    assert os.environ["PYTEST_XDIST_WORKER"] == "gw1"
"""


def test_tests_of_a_file_stay_together_except_those_with_their_own_portal() -> None:
    assert work_unit("tests/a.py::test_one") == work_unit("tests/a.py::test_two[process_table]")
    assert work_unit("tests/a.py::test_one[docker-2]") == work_unit("tests/a.py::test_two[docker]")
    assert work_unit("tests/a.py::test_one[process]") != work_unit("tests/a.py::test_one[docker]")


def test_the_last_worker_begins_at_the_end_after_the_second_run(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(BEGINS)
    (tmp_path / "test_b.py").write_text(RUNS_LAST)
    (tmp_path / "pytest.ini").touch()
    options = "-p xdist -p tests.harness.scheduling -n 2 --dist loadfile --no-loadscope-reorder"
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with subprocess.Popen(["sh", "-c", BESIDE], cwd=tmp_path) as beside:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options.split()],
            cwd=tmp_path,
            env=os.environ | environment | {"TESTS_BESIDE": str(beside.pid)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        beside.kill()
    assert "2 passed" in done.stdout, done.stdout + done.stderr
