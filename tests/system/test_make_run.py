"""`make run` and `make clean`, in a separate checkout."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest

from tests.harness.ports import reserve_port
from tests.harness.shared_files import creating_shared, link_shared, share_templates
from tests.helpers.wait import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
# Compiled modules are copied, too, so that each process doesn't compile them again.
IGNORED_FILES = shutil.ignore_patterns(".venv", "var", ".git", ".*_cache", ".hypothesis")
TEST_VARIABLES = re.compile(
    "VAR_DIR|SECRET_KEY|SANDBOX_.*|STREAMS_.*|ALLOWED_HOSTS|SITE_URL|HOST|DATABASE_URL|CACHE_URL|CELERY_.*"
)


@dataclass
class Checkout:
    """A copy of the code to run `make` in."""

    root: Path

    @property
    def var(self) -> Path:
        return self.root / "var"

    def environment(self, **values: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not TEST_VARIABLES.fullmatch(k)}
        return inherited | {"SANDBOX_RUNTIME": "memory", "PORT": str(reserve_port())} | values

    def share_files(self, home: Path) -> dict[str, str]:
        """Use static files and templates that are prepared already; return the settings."""
        link_shared(self.var / "static", "static")
        share_templates(home)
        return {"SANDBOX_PROCESS_DIR": str(home)}

    def make(self, target: str, **values: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", target],
            cwd=self.root,
            env=self.environment(**values),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def accounts(self) -> dict[str, dict[str, str]]:
        accounts: dict[str, dict[str, str]] = json.loads(
            (self.var / "demo-accounts.json").read_text()
        )
        return accounts

    def processes(self) -> list[int]:
        """Return the PIDs of the processes that run in this directory."""
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.root:
                    pids.append(int(process.name))
            except OSError:
                continue
        return pids

    def process(self, word: str) -> int:
        """Return the PID of the process with the word in its command, not of its shell."""
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in self.processes()}
        return min(pid for pid, command in commands.items() if word in command)


@pytest.fixture(scope="module")
def copied_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(
        shutil.copytree(ROOT, tmp_path_factory.mktemp("run") / "code", ignore=IGNORED_FILES)
    )


@pytest.fixture
def checkout(copied_code: Path) -> Iterator[Checkout]:
    """Return a checkout in which nothing has run yet."""
    checkout = Checkout(copied_code)
    (checkout.root / ".venv").symlink_to(VENV)
    yield checkout
    for pid in checkout.processes():
        os.kill(pid, signal.SIGKILL)
    (checkout.root / ".venv").unlink(missing_ok=True)
    shutil.rmtree(checkout.var, ignore_errors=True)


class Run:
    """`make run`, in the foreground of its own session."""

    def __init__(self, checkout: Checkout, **values: str) -> None:
        environment = checkout.environment(**values)
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self.output = ""
        self.process = subprocess.Popen(
            ["make", "run"],
            cwd=checkout.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.read_until("is ready")

    def read_until(self, words: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if words in line:
                return
        raise AssertionError(f"“{words}” wasn't printed:\n{self.output}")

    def wait(self) -> int:
        """Wait for the exit, read the rest of the output, and return the exit status."""
        self.output += self.process.communicate(timeout=30)[0]
        return self.process.returncode


def can_call(url: str, account: dict[str, str]) -> bool:
    headers = {"Authorization": f"Bearer {account['token']}"}
    return httpx2.get(f"{url}/api/v1/limits", headers=headers).status_code == 200


def has_status(url: str, status: int) -> bool:
    try:
        return httpx2.get(url).status_code == status
    except httpx2.ConnectError:
        return False


def test_make_without_a_target_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z-]+)", listed)) == set(phony.split())


def test_make_run_stops_on_ctrl_c_and_when_one_of_its_processes_dies(checkout: Checkout) -> None:
    first = Run(checkout)
    accounts = checkout.accounts()
    assert all(can_call(first.url, account) for account in accounts.values())
    assert all(value in first.output for account in accounts.values() for value in account.values())
    events = httpx2.get(f"{first.url}/api/v1").json()["events"]
    wait_for(lambda: has_status(events, 401), "the event stream asks for a token")
    os.killpg(first.process.pid, signal.SIGINT)
    first.wait()
    assert checkout.processes() == []

    second = Run(checkout)
    assert checkout.accounts() == accounts
    assert can_call(second.url, accounts["developer"])
    os.kill(checkout.process("celery"), signal.SIGKILL)
    assert second.wait() != 0
    assert "worker exited (-9); stopping everything." in second.output
    assert checkout.processes() == []


def test_a_port_in_use_is_reported_on_the_first_line(checkout: Checkout) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        failed = checkout.make("run", PORT=str(port))
    assert failed.returncode != 0
    assert failed.stderr.splitlines()[0].startswith(f"✗ Port {port} is in use.")
    assert not checkout.var.exists()


def test_the_environment_takes_precedence_over_the_installations_own_file(
    checkout: Checkout,
) -> None:
    checkout.var.mkdir()
    (checkout.var / "env").write_text("# ours\nHOST='192.0.2.1'\nPORT=1\n")
    failed = checkout.make("run", PORT="2")
    assert "HOST=192.0.2.1 PORT=2" in failed.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_an_invalid_port_is_rejected(checkout: Checkout, port: str) -> None:
    failed = checkout.make("run", PORT=port)
    assert f"PORT={port} isn't a valid port. Choose one from 1 to 65535." in failed.stderr


def test_an_unreachable_engine_is_reported_on_the_first_line(checkout: Checkout) -> None:
    nowhere = f"unix://{checkout.root}/no.sock"
    failed = checkout.make("run", SANDBOX_RUNTIME="docker", DOCKER_HOST=nowhere)
    assert failed.returncode != 0
    assert failed.stderr.splitlines()[0] == (
        f"✗ The Docker Engine at {nowhere} isn't responding. "
        "Start the engine there, or unset DOCKER_HOST."
    )


@pytest.fixture
def process_home() -> Iterator[Path]:
    """Return a directory for process sandboxes that other users can enter."""
    with TemporaryDirectory(prefix="portal-tests-processes-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve() / "home"


def test_without_an_engine_sandboxes_run_as_processes_that_outlive_the_portal(
    checkout: Checkout, process_home: Path
) -> None:
    nowhere = {"SANDBOX_RUNTIME": "", "DOCKER_HOST": f"unix://{checkout.root}/no.sock"}
    nowhere |= checkout.share_files(process_home)
    with creating_shared():
        first = Run(checkout, **nowhere)
    assert "isn't responding" in first.output
    assert "▸ Trial mode: sandboxes run as local processes and aren't isolated" in first.output
    token = {"Authorization": f"Bearer {checkout.accounts()['developer']['token']}"}
    with httpx2.Client(base_url=f"{first.url}/api/v1", headers=token, timeout=70) as client:
        assert client.get("/limits").json()["isolated"] is False
        launched = client.post("/sandboxes", json={}, headers={"Prefer": "wait=60"}).json()
    assert launched["state"] == "running"
    os.killpg(first.process.pid, signal.SIGKILL)
    first.wait()
    for pid in checkout.processes():
        os.kill(pid, signal.SIGKILL)

    second = Run(checkout, **nowhere)
    with httpx2.Client(base_url=f"{second.url}/api/v1", headers=token, timeout=70) as client:
        restored = client.get(f"/sandboxes/{launched['id']}").json()
    assert (restored["state"], restored["endpoints"]) == ("running", launched["endpoints"])
    assert httpx2.get(f"{launched['endpoints']['api']}/readyz").status_code == 200
    cleaned = checkout.make("clean", **nowhere)
    second.wait()
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert checkout.processes() == []
    assert not checkout.var.exists()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(launched["endpoints"]["api"])


def test_the_runtime_can_be_chosen(checkout: Checkout) -> None:
    nowhere = f"unix://{checkout.root}/no.sock"
    required = checkout.make("run", SANDBOX_RUNTIME="", RUNTIME="docker", DOCKER_HOST=nowhere)
    assert f"✗ The Docker Engine at {nowhere} isn't responding." in required.stderr
    unknown = checkout.make("run", RUNTIME="podman")
    assert "✗ Unknown RUNTIME=podman. Choose docker or process." in unknown.stderr


@pytest.mark.engine
def test_make_clean_removes_only_the_objects_of_its_own_instance(checkout: Checkout) -> None:
    keys = [sys.executable, checkout.root / "deploy" / "keys.py"]
    subprocess.run(keys, env=os.environ | {"VAR_DIR": str(checkout.var)}, check=True)
    env = checkout.var / "env"
    [instance] = re.findall(r"^SANDBOX_INSTANCE=(.*)$", env.read_text(), re.MULTILINE)
    ours, others = f"clean-{secrets.token_hex(4)}", f"clean-{secrets.token_hex(4)}"
    for name, owner in ((ours, instance), (others, f"{instance}-other")):
        labels = [f"--label=sandboxportal.instance={owner}", "--label=sandboxportal.sandbox=sbx_x"]
        subprocess.run(["docker", "network", "create", *labels, name], check=True)
    try:
        # It works without the installation's keys and with a broken database.
        env.unlink()
        (checkout.var / "portal.sqlite3").write_text("no database")
        cleaned = checkout.make("clean", SANDBOX_RUNTIME="docker")
        listed = subprocess.run(
            ["docker", "network", "ls", "--format", "{{.Name}}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    finally:
        subprocess.run(["docker", "network", "rm", ours, others], check=False, capture_output=True)
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert (ours in listed, others in listed) == (False, True)
    assert not checkout.var.exists()
    assert not (checkout.root / ".venv").is_symlink()
    assert VENV.exists()


def test_make_clean_keeps_other_files_in_its_directory(checkout: Checkout, tmp_path: Path) -> None:
    var = tmp_path / "elsewhere"
    var.mkdir()
    (var / "thesis.txt").write_text("not ours")
    (var / "env").write_text("SECRET_KEY=ours\n")
    cleaned = checkout.make("clean", VAR_DIR=str(var))
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert [file.name for file in var.iterdir()] == ["thesis.txt"]


def test_a_detached_command_does_not_delay_its_caller(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "detach.py"
    command = [sys.executable, script, tmp_path / "log", "sh", "-c", "echo $$; exec sleep 60"]
    # Reading the output to its end would wait for a child that had inherited the pipe.
    subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=True
    )
    pid = int(wait_for((tmp_path / "log").read_text, "the command prints its PID"))
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
