"""What the doctor looks at: each thing as it should be, and as it should not."""

from __future__ import annotations

import secrets
import socketserver
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from django.core import checks
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from sandboxes import clock, firewall, tasks
from sandboxes.doctor import configuration, engine, keys, machine, networks, outside, stores, work
from sandboxes.doctor.findings import Finding, Level
from sandboxes.reaper import Sweep
from sandboxes.runtime import EngineRefused
from sandboxes.runtime.docker.particulars import Particulars
from tests.acting import launch
from tests.friendbots import Friendbot
from tests.portal import free_port

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from kombu import Connection
    from pytest_django.fixtures import SettingsWrapper

    from sandboxes.runtime.memory import MemoryRuntime

FINE, WARNING, WRONG = Level.FINE, Level.WARNING, Level.WRONG


def levels(found: Iterable[Finding]) -> list[Level]:
    return [one.level for one in found]


def the_one(found: Iterable[Finding], level: Level) -> Finding:
    """The only finding of that level; whatever is not fine has a remedy."""
    (finding,) = [one for one in found if one.level is level]
    assert bool(finding.remedy) == (level is not FINE)
    return finding


# --- the engine ------------------------------------------------------------------------------

GOOD = Particulars(
    version="28.0",
    api_version="1.48",
    system_time=datetime.now(UTC),
    storage="overlay2 on xfs",
    cgroup_version="2",
    limits={"memory": True, "swap": True, "processes": True, "CPU": True},
    runtimes=frozenset({"runc"}),
    live_restore=True,
)


def test_what_runs_sandboxes_is_asked(runtime: MemoryRuntime) -> None:
    assert levels(engine.runs_sandboxes()) == [FINE, FINE]
    runtime.unreachable = True
    assert levels(engine.runs_sandboxes()) == [WRONG]


def test_an_engine_that_can_all_is_fine() -> None:
    assert set(levels(engine.judged(GOOD))) == {FINE}


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"api_version": "1.40"}, WRONG, "too old"),
        ({"limits": {"memory": True, "processes": False}}, WRONG, "can't limit processes"),
        ({"limits": {"memory": True, "swap": False}}, WARNING, "can't limit swap"),
        ({"seccomp": False}, WRONG, "no system calls"),
        ({"live_restore": False}, WARNING, "stops all sandboxes"),
        ({"proxies": 6}, WARNING, "6 processes"),
    ],
)
def test_what_an_engine_lacks_is_told(changes: dict[str, Any], level: Level, words: str) -> None:
    assert words in the_one(engine.judged(replace(GOOD, **changes)), level).words


def test_a_container_runtime_that_the_engine_lacks_is_wrong(settings: SettingsWrapper) -> None:
    settings.SANDBOX_CONTAINER_RUNTIME = "runsc"
    assert "runsc" in the_one(engine.judged(GOOD), WRONG).words
    assert WRONG not in levels(engine.judged(replace(GOOD, runtimes=frozenset({"runsc"}))))


def test_a_missing_image_is_wrong(runtime: MemoryRuntime) -> None:
    assert levels(engine.has_images()) == [FINE]
    runtime.missing.add("sandboxportal/billing-db")
    assert "build_images" in the_one(engine.has_images(), WRONG).remedy


@pytest.mark.engine
def test_a_real_engine_tells_its_particulars(settings: SettingsWrapper) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    found = engine.particulars_of(engine.connection())
    assert found.limits.keys() == {"memory", "swap", "processes", "CPU"}
    assert "runc" in found.runtimes
    assert machine.agrees("the engine", found.system_time).level is FINE
    assert WRONG not in levels(engine.enforces_limits())


@pytest.mark.engine
def test_an_image_that_is_not_what_its_blueprint_says_is_told(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch, runtime: MemoryRuntime
) -> None:
    settings.SANDBOX_RUNTIME = "docker"
    monkeypatch.setattr("sandboxes.runtime.docker.particulars.inputs_of", lambda *_: "of before")
    assert levels(engine.has_images()) == [WARNING, WARNING]


# --- the network -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "level"), [(0, FINE), (3600, FINE), (3700, WARNING), (4096, WRONG)]
)
def test_subnets_run_out(taken: int, level: Level) -> None:
    finding = networks.left(taken, 4096)
    assert finding.level is level
    assert f"{4096 - taken} of 4096" in finding.words


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
sbx1\t1000D50A\t00000000\t0001\t0\t0\t0\tF0FFFFFF\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""


def test_a_route_into_our_range_is_told_unless_it_is_the_engines(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    known = networks.routes(tmp_path / "route")
    engines = [IPv4Network("10.213.0.16/28")]
    assert "10.0.0.0/8 (tun0)" in the_one(networks.strangers(known, engines), WARNING).words
    assert levels(networks.strangers(known[:2], engines)) == [FINE]
    assert levels(networks.strangers(known[:2], [])) == [WARNING]


@pytest.mark.parametrize(
    ("closed", "level", "words"),
    [(True, FINE, "don't"), (False, WARNING, "do"), (None, WARNING, "can't be told")],
)
def test_a_way_to_the_engines_machine_is_told(
    monkeypatch: pytest.MonkeyPatch,
    settings: SettingsWrapper,
    closed: bool | None,
    level: Level,
    words: str,
) -> None:
    assert levels(networks.way_to_the_machine()) == [FINE]
    settings.SANDBOX_RUNTIME = "docker"
    found = firewall.Verdict(closed, words, "Close it." if closed is False else "")
    monkeypatch.setattr(firewall, "verdict", lambda: found)
    assert words in the_one(networks.way_to_the_machine(), level).words


def test_ports_can_be_published_on_an_address_of_this_machine_only(
    settings: SettingsWrapper,
) -> None:
    assert levels(networks.ports()) == [FINE]
    settings.SANDBOX_BIND_ADDRESS = "203.0.113.7"
    assert "203.0.113.7" in the_one(networks.ports(), WRONG).words
    settings.DOCKER_HOST = "tcp://engine.example.com:2376"
    assert levels(networks.ports()) == [FINE]


# --- the machine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (machine.var_disk(10_000, 5_000), FINE),
        (machine.var_disk(10_000, 1_000), WARNING),
        (machine.var_disk(10_000, 100), WRONG),
        (machine.var_disk(None, None), WRONG),
        (machine.engine_disk(100_000, 50_000), FINE),
        (machine.engine_disk(100_000, 5_000), WARNING),
        (machine.engine_disk(100_000, 2_000), WRONG),
        (machine.engine_disk(None, None), WARNING),
        (machine.enough_memory(16_000, 9_000, 40), FINE),
        (machine.enough_memory(16_000, 900, 40), WARNING),
    ],
)
def test_what_is_left_of_disks_and_memory_is_told(finding: Finding, level: Level) -> None:
    assert finding.level is level
    assert bool(finding.remedy) == (level is not FINE)


def test_this_machine_itself_is_looked_at(runtime: MemoryRuntime) -> None:
    assert len(levels(machine.disks())) == 2
    assert len(levels(machine.memory())) == 1


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, FINE), (-5, WARNING), (5, WARNING), (-99, WRONG)]
)
def test_clocks_that_disagree_are_told(seconds: int, level: Level) -> None:
    there = clock.now() + timedelta(seconds=seconds)
    assert machine.agrees("the database", there).level is level


@pytest.mark.django_db
def test_the_databases_clock_is_asked() -> None:
    assert levels(machine.clocks()) == [FINE]


def test_what_others_can_read_of_the_portal_is_told(
    settings: SettingsWrapper, tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path
    tmp_path.chmod(0o755)
    for name in ("env", "portal.sqlite3"):
        (tmp_path / name).touch(0o600)
    assert levels(machine.files()) == [FINE]
    (tmp_path / "env").chmod(0o644)
    assert f"chmod o-rwx {tmp_path / 'env'}" in the_one(machine.files(), WRONG).remedy
    (tmp_path / "portal.sqlite3").chmod(0o644)
    assert levels(machine.files()) == [WRONG, WARNING]
    tmp_path.chmod(0o700)
    assert levels(machine.files()) == [FINE]


def test_a_directory_that_cannot_be_written_is_wrong(
    settings: SettingsWrapper, tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path / "nowhere"
    assert levels(machine.files()) == [WRONG]


# --- stores ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_database_is_looked_at() -> None:
    found = list(stores.database())
    assert found[-1].words == "All migrations are applied."
    if connection.vendor == "sqlite":
        # Tests have it in memory.
        assert levels(found) == [FINE, WRONG, FINE]
    else:
        assert levels(found) == [FINE, FINE, FINE]


@pytest.mark.parametrize(
    ("journal", "transactions", "level"),
    [("wal", "IMMEDIATE", FINE), ("delete", "IMMEDIATE", WRONG), ("wal", None, WRONG)],
)
def test_sqlite_is_for_many_only_in_one_mode(
    journal: str, transactions: str | None, level: Level
) -> None:
    assert stores.sqlite_mode(journal, transactions).level is level


def test_connections_run_out() -> None:
    assert stores.connections(10, 100).level is FINE
    assert stores.connections(80, 100).level is WARNING


@pytest.mark.django_db
def test_a_migration_that_is_not_applied_is_wrong() -> None:
    (last,) = MigrationLoader(connection).graph.leaf_nodes("sandboxes")
    MigrationRecorder(connection).record_unapplied(*last)
    finding = the_one([stores.migrations()], WRONG)
    assert ".".join(last) in finding.words
    assert "manage.py prepare" in finding.remedy


def test_a_cache_for_each_process_is_wrong(settings: SettingsWrapper) -> None:
    backend = settings.CACHES["default"]["BACKEND"]
    expected = WRONG if "locmem" in backend else FINE
    assert levels(stores.shared_cache()) == [expected]


def test_a_cache_that_forgets_is_wrong(settings: SettingsWrapper, tmp_path: Path) -> None:
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}
    assert levels(stores.shared_cache()) == [FINE]
    elsewhere = {"KEY_FUNCTION": lambda *_: secrets.token_hex(8)}
    settings.CACHES = {"default": settings.CACHES["default"] | elsewhere}
    assert "forgets" in the_one(stores.shared_cache(), WRONG).words


# --- work ------------------------------------------------------------------------------------


def test_a_worker_that_answers_is_alive() -> None:
    assert levels(work.queue()) == [FINE, FINE]


def test_a_queue_at_whose_end_nobody_is_is_told(
    no_worker: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "ANSWER_SECONDS", 0.2)
    assert "No worker answered" in the_one(work.queue(), WRONG).words


def test_a_broker_that_takes_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("connection to redis://:s3cret@cache refused")

    monkeypatch.setattr(tasks.answer, "delay", refuse)
    finding = the_one(work.queue(), WRONG)
    assert "takes no message" in finding.words and "s3cret" not in finding.words


@pytest.mark.django_db
def test_a_reaper_that_sleeps_or_complains_is_told(runtime: MemoryRuntime) -> None:
    assert levels(work.reaper()) == [WRONG]
    Sweep().run()
    assert levels(work.reaper()) == [FINE]
    runtime.plant("sbx_orphan", clock.now() - timedelta(hours=1))
    runtime.fail_next("destroy", EngineRefused("It is busy."))
    Sweep().run()
    assert "It is busy." in the_one(work.reaper(), WARNING).words


@pytest.mark.django_db
def test_what_the_console_complains_of_is_told(runtime: MemoryRuntime) -> None:
    Sweep().run()
    assert levels(work.alarms()) == [FINE]
    runtime.unreachable = True
    Sweep().run()
    assert "engine" in the_one(work.alarms(), WRONG).words


# --- keys ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_secrets_tell_which_keys_are_needed(
    alice: User, runtime: MemoryRuntime, settings: SettingsWrapper
) -> None:
    first, second = settings.SANDBOX_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    launch(alice)
    assert levels(keys.encryption_keys()) == [FINE]
    settings.SANDBOX_ENCRYPTION_KEYS = [second, first]
    assert "1 secrets are still encrypted" in the_one(keys.encryption_keys(), WARNING).words
    settings.SANDBOX_ENCRYPTION_KEYS = [first, second]
    assert "No secret needs" in the_one(keys.encryption_keys(), WARNING).words
    settings.SANDBOX_ENCRYPTION_KEYS = [second]
    assert "not known here" in the_one(keys.encryption_keys(), WRONG).words
    settings.SANDBOX_ENCRYPTION_KEYS = ["short"]
    assert "E004" in the_one(keys.encryption_keys(), WRONG).words


def test_secrets_are_counted_by_what_opens_them() -> None:
    assert levels(keys.judged(Counter({1: 3}), 1)) == [FINE]
    assert levels(keys.judged(Counter({keys.UNKNOWN: 1, 2: 1}), 2)) == [WRONG, WARNING]


def test_earlier_keys_of_sessions_are_told(settings: SettingsWrapper) -> None:
    assert levels(keys.earlier_secret_keys()) == [FINE]
    settings.SECRET_KEY_FALLBACKS = ["before"]
    finding = the_one(keys.earlier_secret_keys(), WARNING)
    assert "before" not in finding.words


# --- others' servers -------------------------------------------------------------------------


class MailServer(socketserver.ThreadingTCPServer):
    """Greets, and takes note of what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.heard: list[str] = []


class Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 mail.example.com\r\n")
        for line in self.rfile:
            word = line.split()[0].decode().upper()
            self.server.heard.append(word)  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 mail.example.com\r\n")


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_mail_that_reaches_nobody_is_a_warning() -> None:
    assert levels(outside.mail()) == [WARNING]


def test_a_mail_server_is_greeted_and_gets_no_mail(settings: SettingsWrapper) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    with mail_server() as server:
        settings.EMAIL_PORT = server.server_address[1]
        assert levels(outside.mail()) == [FINE]
    assert server.heard == ["EHLO", "QUIT"]
    assert levels(outside.mail()) == [WRONG]


def test_with_an_address_a_mail_is_sent(mailoutbox: list[Any]) -> None:
    assert levels(outside.mail_to("olga@example.com")) == [FINE]
    assert mailoutbox[0].to == ["olga@example.com"]


def test_a_mail_that_is_not_taken_is_wrong(settings: SettingsWrapper) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    assert levels(outside.mail_to("olga@example.com")) == [WRONG]


def test_friendbot_is_reached_or_not(bot: Friendbot, settings: SettingsWrapper) -> None:
    assert levels(outside.friendbot()) == [FINE]
    settings.FRIENDBOT_URL = f"http://127.0.0.1:{free_port()}/"
    assert "can't be reached" in the_one(outside.friendbot(), WARNING).words


# --- settings --------------------------------------------------------------------------------


def test_https_is_missed_once_and_not_four_times() -> None:
    four = [checks.Warning("…", id=name) for name in configuration.OF_HTTPS]
    assert levels(configuration.judged(four)) == [WARNING]
    assert levels(configuration.judged([])) == [FINE]
    error = checks.Error("Bad.", hint="Mend it.", id="sandboxes.E005")
    assert "sandboxes.E005" in the_one(configuration.judged([error]), WRONG).words


@pytest.mark.django_db
def test_the_checks_of_django_are_made(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The browser's tests need it, in whose process these may run.
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    assert [one for one in configuration.settings_in_force() if one.level is WRONG] == []
    settings.SECRET_KEY = "short"
    settings.SANDBOX_TTL_MIN_MINUTES = 0
    words = " ".join(one.words for one in configuration.settings_in_force())
    assert "security.W009" in words and "sandboxes.E005" in words


def test_debug_is_for_this_machine_alone(settings: SettingsWrapper) -> None:
    assert levels(configuration.debug()) == [FINE]
    settings.DEBUG = True
    assert levels(configuration.debug()) == [WARNING]
    settings.SITE_URL = "https://sandboxes.example.com"
    assert levels(configuration.debug()) == [WRONG]
