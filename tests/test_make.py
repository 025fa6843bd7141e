"""`make run` and `make clean`, in a checkout of their own."""

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

import httpx
import pytest

from tests.ports import reserve_port
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.prefix)
NOT_COPIED = shutil.ignore_patterns(".venv", "var", ".git", "__pycache__", ".*_cache")
FROM_THE_TESTS = re.compile("VAR_DIR|SECRET_KEY|SANDBOX_.*|ALLOWED_HOSTS|SITE_URL|HOST")


@dataclass
class Checkout:
    """A copy of the code, with what `make` does in it."""

    root: Path

    @property
    def var(self) -> Path:
        return self.root / "var"

    def environment(self, **values: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not FROM_THE_TESTS.fullmatch(k)}
        return inherited | {"SANDBOX_RUNTIME": "memory", "PORT": str(reserve_port())} | values

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
        """What runs in this directory."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink() == self.root:
                    found.append(int(process.name))
            except OSError:
                continue
        return found

    def process(self, word: str) -> int:
        """The one process whose command has the word in it, and not the shell's that started it."""
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in self.processes()}
        return min(pid for pid, command in commands.items() if word in command)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    root = tmp_path / "checkout"
    shutil.copytree(ROOT, root, ignore=NOT_COPIED)
    (root / ".venv").symlink_to(VENV)
    made = Checkout(root)
    yield made
    for pid in made.processes():
        os.kill(pid, signal.SIGKILL)


class Run:
    """`make run`, in the foreground of a session of its own."""

    def __init__(self, checkout: Checkout, **values: str) -> None:
        environment = checkout.environment(**values)
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self.said = ""
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
            self.said += line
            if words in line:
                return
        raise AssertionError(f"“{words}” was never said:\n{self.said}")

    def end(self) -> int:
        """Wait until it has ended and said all it had to say."""
        self.said += self.process.communicate(timeout=30)[0]
        return self.process.returncode


def can_call(url: str, account: dict[str, str]) -> bool:
    headers = {"Authorization": f"Bearer {account['token']}"}
    return httpx.get(f"{url}/api/v1/limits", headers=headers).status_code == 200


def test_make_alone_lists_all_there_is_to_make() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z-]+)", listed)) == set(phony.split())


def test_it_runs_until_ctrl_c_and_may_be_repeated(checkout: Checkout) -> None:
    first = Run(checkout)
    accounts = checkout.accounts()
    assert all(can_call(first.url, account) for account in accounts.values())
    assert all(value in first.said for account in accounts.values() for value in account.values())
    os.killpg(first.process.pid, signal.SIGINT)
    first.end()
    assert checkout.processes() == []

    second = Run(checkout)
    assert checkout.accounts() == accounts
    assert can_call(second.url, accounts["developer"])
    second.process.terminate()
    second.end()
    assert checkout.processes() == []


def test_when_one_process_dies_all_end_and_it_is_said_which(checkout: Checkout) -> None:
    run = Run(checkout)
    os.kill(checkout.process("celery"), signal.SIGKILL)
    assert run.end() != 0
    assert "worker exited (-9); stopping everything." in run.said
    assert checkout.processes() == []


def test_a_busy_port_is_told_in_one_sentence(checkout: Checkout) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        refused = checkout.make("run", PORT=str(port))
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[0].startswith(f"✗ Port {port} is in use.")
    assert not checkout.var.exists()


def test_the_installations_own_file_sets_what_the_environment_does_not(checkout: Checkout) -> None:
    checkout.var.mkdir()
    (checkout.var / "env").write_text("# ours\nHOST='192.0.2.1'\nPORT=1\n")
    refused = checkout.make("run", PORT="2")
    assert "HOST=192.0.2.1 PORT=2" in refused.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(checkout: Checkout, port: str) -> None:
    refused = checkout.make("run", PORT=port)
    assert f"PORT={port} isn't a valid port. Choose one from 1 to 65535." in refused.stderr


def test_an_engine_that_does_not_answer_is_told_in_one_sentence(checkout: Checkout) -> None:
    nowhere = f"unix://{checkout.root}/no.sock"
    refused = checkout.make("run", SANDBOX_RUNTIME="docker", DOCKER_HOST=nowhere)
    assert refused.returncode != 0
    assert refused.stderr.splitlines()[0] == (
        f"✗ The Docker Engine at {nowhere} isn't responding. "
        "Start the engine there, or unset DOCKER_HOST."
    )


def test_without_an_engine_sandboxes_are_processes_which_outlive_the_portal(
    checkout: Checkout,
) -> None:
    nowhere = {"SANDBOX_RUNTIME": "", "DOCKER_HOST": f"unix://{checkout.root}/no.sock"}
    first = Run(checkout, **nowhere)
    assert "isn't responding" in first.said
    assert "▸ Trial mode: sandboxes run as local processes and aren't isolated" in first.said
    token = {"Authorization": f"Bearer {checkout.accounts()['developer']['token']}"}
    with httpx.Client(base_url=f"{first.url}/api/v1", headers=token, timeout=70) as client:
        assert client.get("/limits").json()["isolated"] is False
        made = client.post("/sandboxes", json={}, headers={"Prefer": "wait=60"}).json()
    assert made["state"] == "running"
    os.killpg(first.process.pid, signal.SIGKILL)
    first.end()
    for pid in checkout.processes():
        os.kill(pid, signal.SIGKILL)

    second = Run(checkout, **nowhere)
    with httpx.Client(base_url=f"{second.url}/api/v1", headers=token, timeout=70) as client:
        again = client.get(f"/sandboxes/{made['id']}").json()
    assert (again["state"], again["endpoints"]) == ("running", made["endpoints"])
    assert httpx.get(f"{made['endpoints']['api']}/readyz").status_code == 200
    cleaned = checkout.make("clean", **nowhere)
    second.end()
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert not checkout.var.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(made["endpoints"]["api"])


def test_what_runs_sandboxes_may_be_decided_by_hand(checkout: Checkout) -> None:
    nowhere = f"unix://{checkout.root}/no.sock"
    insisted = checkout.make("run", SANDBOX_RUNTIME="", RUNTIME="docker", DOCKER_HOST=nowhere)
    assert f"✗ The Docker Engine at {nowhere} isn't responding." in insisted.stderr
    mistaken = checkout.make("run", RUNTIME="podman")
    assert "✗ Unknown RUNTIME=podman. Choose docker or process." in mistaken.stderr


@pytest.mark.engine
def test_make_clean_leaves_nothing_of_this_checkout_and_all_of_others(checkout: Checkout) -> None:
    run, env = Run(checkout), checkout.var / "env"
    [instance] = re.findall(
        r"^SANDBOX_INSTANCE=(.*)$", (checkout.var / "env").read_text(), re.MULTILINE
    )
    ours, others = f"clean-{secrets.token_hex(4)}", f"clean-{secrets.token_hex(4)}"
    for name, owner in ((ours, instance), (others, f"{instance}-other")):
        labels = [f"--label=sandboxportal.instance={owner}", "--label=sandboxportal.sandbox=sbx_x"]
        subprocess.run(["docker", "network", "create", *labels, name], check=True)
    try:
        # Even when nobody can say any more what this portal was.
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
    run.end()
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert (ours in listed, others in listed) == (False, True)
    assert checkout.processes() == []
    assert not checkout.var.exists()
    assert not (checkout.root / ".venv").is_symlink()
    assert VENV.exists()


def test_make_clean_leaves_what_others_keep_in_the_same_directory(
    checkout: Checkout, tmp_path: Path
) -> None:
    var = tmp_path / "elsewhere"
    var.mkdir()
    (var / "thesis.txt").write_text("not ours")
    (var / "env").write_text("SECRET_KEY=ours\n")
    cleaned = checkout.make("clean", VAR_DIR=str(var))
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert [file.name for file in var.iterdir()] == ["thesis.txt"]


def test_a_detached_command_keeps_nobody_waiting(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "detach.py"
    command = [sys.executable, script, tmp_path / "log", "sh", "-c", "echo $$; exec sleep 60"]
    # Whoever reads our output to its end would wait for a child that had inherited it.
    subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=True
    )
    said = until((tmp_path / "log").read_text, "it says its number")
    assert os.getsid(int(said)) == int(said)
    os.kill(int(said), signal.SIGKILL)
