"""What install.sh refuses before it changes anything, and what a dry run prints."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
from pathlib import Path

import pytest

from sandboxes.gateway import development_ca
from sandboxes.preparation.engine_certificates import Authority
from sandboxes.preparation.engine_machines import EngineMachine
from tests.harness.portal import ROOT
from tests.install.visitor import DOMAIN, PORTAL

INSTALL = ROOT / "deploy" / "install.sh"
SCRIPTS = [INSTALL, ROOT / "deploy" / "sandbox-portal", ROOT / "deploy" / "start.sh"]
NAMES = ["--site-url", f"https://{PORTAL}", "--sandbox-domain", DOMAIN]
LISTEN = (
    "python3 -c 'import socket, sys, time; listening = socket.create_server((str(), "
    "int(sys.argv[1]))); print(flush=True); time.sleep(60)'"
)
ADDRESS = "ip address add 192.0.2.2/32 dev lo && ip link set lo up"
NAMESPACES = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
UNCHANGED = (
    *("/opt/sandbox-portal", "/etc/sandbox-portal", "/etc/sandbox-portal.env"),
    *("/opt/sandbox-portal-engine", "/etc/sandbox-portal-engine"),
)


def test_shellcheck_finds_no_problem_in_the_scripts() -> None:
    # SC1111: typographic quotes are meant in messages.
    options = ["--external-sources", "--severity=warning", "--exclude=SC1111"]
    source = f"--source-path={ROOT / 'deploy' / 'install'}"
    checked = subprocess.run(
        ["shellcheck", *options, source, *map(str, SCRIPTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout == ""


def dry_run(*options: str, before: str = "true") -> tuple[int, str]:
    """Run the installer in a network of its own, after commands that only it sees."""
    script = f'mount --make-rprivate / && {before} && exec "$@"'
    done = subprocess.run(
        ["unshare", *NAMESPACES, "bash", "-c", script, "-", INSTALL, *options, "--dry-run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not any(Path(path).exists() for path in UNCHANGED)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with `certificate.pem` and `key.pem` for the portal and its sandboxes."""
    directory = tmp_path_factory.mktemp("tls")
    development_ca.write(directory, DOMAIN, [PORTAL])
    return directory


@pytest.fixture
def bundle(tmp_path: Path, settings) -> Path:
    """Return what `engine issue-certificate` writes for a machine, and another CA's certificate."""
    authority = Authority.open(tmp_path / "ca", "only for these tests")
    Authority.open(tmp_path / "other", "only for these tests")
    found = tmp_path / "engine-east"
    EngineMachine("east", ["192.0.2.2"], "192.0.2.2").write(found, authority, 1, "true\n")
    (found / "other.pem").write_bytes((tmp_path / "other/ca.pem").read_bytes())
    return found


def files(directory: Path, key: str = "key.pem") -> list[str]:
    return ["--certificate", str(directory / "certificate.pem"), "--key", str(directory / key)]


@pytest.mark.root
class TestDryRun:
    def test_prints_what_it_would_do_and_changes_nothing(self, tls: Path) -> None:
        status, text = dry_run(*NAMES, *files(tls))
        assert status == 0, text
        for step in ("the user portal-web", "the release", "sandbox-portal.env", "the processes"):
            assert step in text
        assert "A dry run: nothing was changed." in text

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ([], "--site-url is missing"),
            (["--site-url", f"http://{PORTAL}", *NAMES[2:]], "Use https://"),
            ([*NAMES[:2], "--sandbox-domain", f"sandboxes.{PORTAL}"], "registered apart"),
            (NAMES, "--certificate and --key are missing"),
            ([*NAMES, "--certificate", "/nowhere.pem"], "--key is missing"),
            ([*NAMES, "--color"], "Unknown option: --color"),
        ],
    )
    def test_refuses_options(self, options: list[str], reason: str) -> None:
        status, text = dry_run(*options)
        assert status == 1
        assert reason in text

    def test_refuses_a_key_of_another_certificate(self, tls: Path, tmp_path: Path) -> None:
        development_ca.write(tmp_path, DOMAIN, [PORTAL])
        (tls / "other.pem").write_bytes((tmp_path / "key.pem").read_bytes())
        assert "isn't the key of" in dry_run(*NAMES, *files(tls, "other.pem"))[1]

    def test_refuses_an_unreadable_key(self, tls: Path) -> None:
        assert "can't be read" in dry_run(*NAMES, *files(tls, "missing.pem"))[1]

    def test_refuses_an_expired_certificate(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(development_ca, "VALID_FOR", datetime.timedelta(minutes=-1))
        development_ca.write(tmp_path, DOMAIN, [PORTAL])
        assert "has expired" in dry_run(*NAMES, *files(tmp_path))[1]

    @pytest.mark.parametrize(
        ("domain", "hosts"), [("other.example.net", [PORTAL]), (DOMAIN, ["other.example.com"])]
    )
    def test_refuses_a_certificate_for_other_names(
        self, domain: str, hosts: list[str], tmp_path: Path
    ) -> None:
        development_ca.write(tmp_path, domain, hosts)
        assert "isn't valid for" in dry_run(*NAMES, *files(tmp_path))[1]

    @pytest.mark.parametrize("port", [443, 5432, 8000])
    def test_refuses_a_port_that_is_in_use(self, port: int, tls: Path) -> None:
        listen = f"exec 5< <({LISTEN} {port} 2>/dev/null) && read -r <&5"
        status, text = dry_run(*NAMES, *files(tls), before=listen)
        assert (status, f"Port {port} is in use." in text) == (1, True), text

    def test_refuses_a_directory_that_is_not_writable(self, tls: Path) -> None:
        read_only = "mount --bind /opt /opt && mount -o remount,bind,ro /opt"
        assert "/opt isn't writable" in dry_run(*NAMES, *files(tls), before=read_only)[1]

    def test_refuses_an_engine_that_is_too_old(self, tls: Path, tmp_path: Path) -> None:
        docker = tmp_path / "docker"
        docker.write_text("#!/bin/sh\necho 1.40 1.12\n")
        docker.chmod(0o755)
        before = f"export PATH={tmp_path}:{os.environ['PATH']}"
        assert "Install Docker 20.10 or newer" in dry_run(*NAMES, *files(tls), before=before)[1]

    def test_prints_what_it_would_do_on_the_machine_of_an_engine(self, bundle: Path) -> None:
        status, text = dry_run("engine", str(bundle), before=ADDRESS)
        assert status == 0, text
        for step in ("user portal-engine", "opt/sandbox-portal-engine/docker_socket_proxy.py"):
            assert step in text
        for step in ("tls/key.pem", "firewall", "engine-tls.service|supervisor", "Restart"):
            assert re.search(step, text), (step, text)
        assert "postgresql" not in text

    @pytest.mark.parametrize(
        ("change", "before", "reason"),
        [
            ("rm {}/key.pem", "true", "key.pem is missing"),
            ("sed -i /ENGINE_TLS/d {}/engine.env", "true", "doesn't set ENGINE_TLS"),
            ("true", "true", "doesn't have the address 192.0.2.2"),
            ("cp {}/ca.pem {}/cert.pem", ADDRESS, "isn't the key of"),
            ("cp {}/other.pem {}/ca.pem", ADDRESS, "isn't one of the CA"),
            (
                "true",
                f"{ADDRESS} && exec 5< <({LISTEN} 2376) && read -r <&5",
                "Port 2376 is in use",
            ),
        ],
    )
    def test_refuses_a_machine_that_cannot_be_an_engine(
        self, bundle: Path, change: str, before: str, reason: str
    ) -> None:
        subprocess.run(["sh", "-c", change.format(bundle, bundle)], check=True)
        status, text = dry_run("engine", str(bundle), before=before)
        assert (status, reason in text) == (1, True), text
        assert "install.sh engine DIRECTORY" in dry_run("engine")[1]

    def test_refuses_to_upgrade_or_roll_back_what_is_not_installed(self) -> None:
        for command in ("upgrade", "rollback"):
            done = subprocess.run(
                [INSTALL, command], capture_output=True, text=True, check=False, timeout=30
            )
            assert "The portal isn't installed here." in done.stderr
