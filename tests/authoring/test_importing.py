"""`manage.py blueprint import`: a whole valid blueprint from an untrusted source, or nothing."""

from __future__ import annotations

import gzip
import io
import os
import signal
import socket
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sandboxes.authoring import archives, git, sources
from sandboxes.authoring.errors import AuthoringError
from sandboxes.blueprints.loader import boundary_of
from tests.harness.git_server import GitServer, run_git_server
from tests.helpers.blueprints import tiny, write
from tests.helpers.stopwatch import Stopwatch

COMPOSE = b"services: {web: {image: example/web, ports: [80]}}\n"


@pytest.fixture
def blueprints(settings, tmp_path: Path) -> Path:
    folder = tmp_path / "blueprints"
    folder.mkdir()
    settings.SANDBOX_BLUEPRINTS_DIR = folder
    return folder


def run_import(*arguments: object) -> None:
    call_command("blueprint", "import", *map(str, arguments))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_is_imported_with_its_modes_and_links(blueprints, tmp_path, capsys) -> None:
    source = write(tmp_path / "src", tiny()).parent
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o700)
    (source / "link").symlink_to("web/Dockerfile")
    (source / ".git").mkdir()

    run_import(source, "--name", "shop")

    assert "blueprint prepare shop" in capsys.readouterr().out
    imported = blueprints / "shop"
    assert names(imported) == {"compose.yaml", "web", "run.sh", "link", ".imported"}
    assert stat.S_IMODE((imported / "run.sh").stat().st_mode) == 0o755
    assert (imported / "link").readlink() == Path("web/Dockerfile")
    assert names(blueprints) == {"shop"}


def test_an_imported_blueprint_is_replaced_only_on_request(blueprints, tmp_path) -> None:
    source = write(tmp_path / "src", tiny()).parent
    run_import(source)
    (source / "new").touch()

    with pytest.raises(CommandError, match="exists already"):
        run_import(source)
    run_import(source, "--replace")
    assert (blueprints / "tiny" / "new").exists()

    (blueprints / "tiny" / ".imported").unlink()
    with pytest.raises(CommandError, match="wasn't imported"):
        run_import(source, "--replace")


def test_a_faulty_blueprint_is_not_imported(blueprints, tmp_path, capsys) -> None:
    source = write(tmp_path / "src", tiny()).parent
    run_import(source)
    before = (blueprints / "tiny" / "compose.yaml").read_text()
    content = tiny()
    content["services"]["web"]["privileged"] = True
    write(tmp_path / "src", content)

    with pytest.raises(CommandError, match="Nothing was imported"):
        run_import(source, "--replace")

    assert "problem: compose.yaml:" in capsys.readouterr().out
    assert (blueprints / "tiny" / "compose.yaml").read_text() == before
    assert names(blueprints) == {"tiny"}


@pytest.mark.parametrize("moves", [0, 1])
def test_an_interruption_while_replacing_leaves_the_previous_blueprint(
    blueprints, tmp_path, monkeypatch, moves
) -> None:
    source = write(tmp_path / "src", tiny()).parent
    run_import(source)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if moves == 0 and target == blueprints / "tiny" and self.parent != target.parent:
            monkeypatch.undo()
            raise KeyboardInterrupt
        renamed = rename(self, target)
        if moves == 1 and self == blueprints / "tiny":
            raise KeyboardInterrupt
        return renamed

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CommandError, match="nothing was imported"):
        run_import(source, "--replace")
    assert (blueprints / "tiny" / "compose.yaml").exists()
    assert names(blueprints) == {"tiny"}


def test_only_a_shipped_blueprint_reads_the_files_of_the_project(
    tmp_path, monkeypatch, settings
) -> None:
    monkeypatch.setattr("sandboxes.blueprints.loader.SHIPPED", tmp_path)
    settings.BLUEPRINTS_WITH_PROJECT_FILES = ("ships",)
    ships, own = tmp_path / "ships", tmp_path / "own"
    (ships / "inner").mkdir(parents=True)
    own.mkdir()
    assert boundary_of(ships) == settings.BASE_DIR.resolve()
    assert (boundary_of(own), boundary_of(ships / "inner")) == (own, ships / "inner")
    (ships / ".imported").touch()
    assert boundary_of(ships) == ships


def test_what_can_not_be_imported_is_refused_at_once_and_changes_nothing(
    blueprints, tmp_path, monkeypatch
) -> None:
    source = write(tmp_path / "src", tiny()).parent
    (blueprints / "file").touch()
    (blueprints / "link").symlink_to("nowhere")
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "compose.yaml").write_bytes(COMPOSE)
    os.truncate(tmp_path / "large" / "compose.yaml", sources.MAX_BYTES + 1)
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in (
        ((source, "--name", "file"), "exists already"),
        ((source, "--name", "link"), "exists already"),
        ((source, "--name", "link", "--replace"), "wasn't imported"),
        ((source, "--name", "../x"), "can't be the name"),
        ((source, "--branch", "main"), "Only a repository has branches"),
        ((tmp_path, "--name", "all"), "contains SANDBOX_BLUEPRINTS_DIR"),
        ((tmp_path / "large",), "more than 512 MB"),
        ((tmp_path / "pipe",), "doesn't exist, or is neither a folder nor a file"),
        ((tmp_path / ("x" * 300), "--name", "x"), "File name too long"),
        ((tmp_path / "blueprints",), "no Compose file|contains SANDBOX_BLUEPRINTS_DIR"),
    ):
        stopwatch = Stopwatch()
        with pytest.raises(CommandError, match=message):
            run_import(*arguments)
        assert stopwatch.seconds < 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_can_not_be_written_is_named(settings, tmp_path) -> None:
    settings.SANDBOX_BLUEPRINTS_DIR = Path("/proc/blueprints")
    with pytest.raises(CommandError, match=r"/proc/blueprints can't be written.*SANDBOX_BLUEPRI"):
        run_import(write(tmp_path / "src", tiny()).parent)
    with pytest.raises(CommandError, match="/proc/shop can't be written"):
        call_command("blueprint", "new", "shop", "--directory", "/proc")


def test_an_interrupted_import_leaves_nothing(blueprints, tmp_path, monkeypatch) -> None:
    source = write(tmp_path / "src", tiny()).parent
    copy = sources.copy_folder

    def interrupted(*arguments: Any) -> None:
        copy(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(sources, "copy_folder", interrupted)
    with pytest.raises(CommandError, match="nothing was imported"):
        run_import(source)
    assert names(blueprints) == set()


def test_names_from_a_source_can_not_control_the_terminal(blueprints, tmp_path, capsys) -> None:
    path = tar(tmp_path / "shop.tar", ("\x1b]0;title\x07/../x", b""))
    with pytest.raises(CommandError, match="leads out") as caught:
        run_import(path)
    source = tmp_path / "shop"
    source.mkdir()
    (source / "compose.yaml").write_text('services: {"\\e[2J": {image: x}}')
    with pytest.raises(CommandError):
        run_import(source)
    assert "\x1b" not in str(caught.value) + capsys.readouterr().out


# --- archives ------------------------------------------------------------------------------------


def tar(path: Path, *members: tuple[tarfile.TarInfo | str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_an_archive_is_imported_under_its_name(blueprints, tmp_path, ending: str) -> None:
    members = (("Shop-1.0/compose.yaml", COMPOSE), ("Shop-1.0/app/server.py", b"pass"))
    path = tmp_path / f"Shop.{ending}"
    if ending == "zip":
        zipped(path, *members)
    else:
        compression = ending.removeprefix("tar").removeprefix(".")
        tar(path, *members, mode=f"w:{compression}")

    run_import(path)

    assert (blueprints / "shop" / "compose.yaml").read_bytes() == COMPOSE
    assert (blueprints / "shop" / "app" / "server.py").exists()


def test_the_folder_inside_of_an_archive_can_be_chosen(blueprints, tmp_path) -> None:
    path = zipped(
        tmp_path / "all.zip", ("deploy/shop/compose.yaml", COMPOSE), ("README.md", b"hello")
    )
    with pytest.raises(CommandError, match="there is one in deploy/shop"):
        run_import(path)
    with pytest.raises(CommandError, match="no folder"):
        run_import(path, "--folder", "../..", "--name", "shop")
    run_import(path, "--folder", "deploy/shop")
    assert names(blueprints / "shop") == {"compose.yaml", ".imported"}


def raw(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


ATTACKS: dict[str, Callable[[Path], Path]] = {
    "tar: parent": lambda at: tar(at, ("../outside", b"x"), ("compose.yaml", COMPOSE)),
    "tar: absolute": lambda at: tar(at, (f"{at}.outside", b"x"), ("compose.yaml", COMPOSE)),
    "tar: link": lambda at: tar(
        at, (special("link", tarfile.SYMTYPE, "/etc"), b""), ("compose.yaml", COMPOSE)
    ),
    "tar: below a link": lambda at: tar(
        at,
        (special("link", tarfile.SYMTYPE, ".."), b""),
        ("link/outside", b"x"),
        ("compose.yaml", COMPOSE),
    ),
    "tar: chain of links": lambda at: tar(
        at,
        (special("a/b/c", tarfile.SYMTYPE, "../.."), b""),
        (special("d", tarfile.SYMTYPE, "a/b/c/../x"), b""),
        ("compose.yaml", COMPOSE),
    ),
    "tar: hard link": lambda at: tar(at, (special("link", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "tar: device": lambda at: tar(at, (special("null", tarfile.CHRTYPE), b"")),
    "tar: pipe": lambda at: tar(at, (special("pipe", tarfile.FIFOTYPE), b"")),
    "zip: parent": lambda at: zipped(at, ("../outside", b"x"), ("compose.yaml", COMPOSE)),
    "zip: link": lambda at: zipped(at, (zip_link("link"), b"/etc"), ("compose.yaml", COMPOSE)),
    "twice the same file": lambda at: zipped(
        at, ("compose.yaml", COMPOSE), ("./compose.yaml", b"")
    ),
    "no archive": lambda at: raw(at, bytes(range(256)) * 4),
    "empty": lambda at: raw(at, b""),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_archive_writes_nothing(
    blueprints, tmp_path, attack: Callable[[Path], Path]
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with pytest.raises(CommandError):
        run_import(attack(inbox / "shop.tar"))
    assert names(blueprints) == set()
    assert names(inbox) == {"shop.tar"}
    assert names(tmp_path) == {"inbox", "blueprints"}


def test_headers_of_an_archive_take_little_memory(blueprints, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMORY_BYTES", 32 * sources.MB)
    path = tmp_path / "shop.tar.gz"
    header = special("x", tarfile.XHDTYPE)
    header.size = 64 * sources.MB
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        file.write(bytes(header.size))
    with pytest.raises(CommandError, match="needs more than 32 MB of memory"):
        run_import(path)


def test_a_file_that_expands_too_far_is_refused_before_it_is_written(tmp_path) -> None:
    for archive in (
        zipped(tmp_path / "shop.zip", ("zeros", bytes(5 * sources.MB))),
        tar(tmp_path / "shop.tgz", ("zeros", bytes(5 * sources.MB))),
    ):
        with pytest.raises(AuthoringError, match="more than 1 MB"):
            archives.unpack(archive, tmp_path / "new", sources.Budget(max_bytes=sources.MB))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_bytes": 1000}, "more than 0 MB"),
        ({"max_files": 3}, "more than 3 files"),
        ({"max_seconds": -1.0}, "took more than"),
    ],
)
def test_a_source_that_is_too_large_is_refused(
    tmp_path, limits: dict[str, Any], message: str
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for number in range(4):
        (source / f"{number}").write_bytes(b"x" * 600)
    with pytest.raises(AuthoringError, match=message):
        sources.copy_folder(source, tmp_path / "copy", sources.Budget(**limits))


# --- git -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/shop.git", "Only repositories at https"),
        ("git://example.com/shop.git", "Only repositories at https"),
        ("ssh://git@example.com/shop.git", "Only repositories at https"),
        ("git@example.com:shop.git", "Only repositories at https"),
        ("file:///etc/shop", "Only repositories at https"),
        ("ext::sh -c touch% /tmp/x", "doesn't exist, or is neither a folder nor a file"),
        ("--upload-pack=touch", "doesn't exist, or is neither a folder nor a file"),
        ("https://ada:secret@example.com/shop.git", "contains credentials"),
        ("https://example.com/shop.git#main", "--branch"),
    ],
)
def test_only_plain_https_addresses_are_cloned(
    blueprints, monkeypatch, url: str, message: str
) -> None:
    monkeypatch.setattr(git, "_run", lambda *_: pytest.fail("git was started"))
    with pytest.raises(CommandError, match=message) as caught:
        call_command("blueprint", "import", "--name=shop", "--", url)
    assert "secret" not in str(caught.value)
    assert names(blueprints) == set()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    files = {"deploy/shop/compose.yaml": COMPOSE}
    with run_git_server(tmp_path_factory.mktemp("git"), files) as running:
        yield running


@pytest.fixture
def trusted(server: GitServer, monkeypatch) -> GitServer:
    monkeypatch.setenv("GIT_SSL_CAINFO", str(server.authority))
    server.seen.clear()
    return server


def test_a_repository_is_imported_without_its_history(blueprints, trusted: GitServer) -> None:
    run_import(trusted.url, "--folder", "deploy/shop", "--branch", "main")
    assert names(blueprints / "shop") == {"compose.yaml", ".imported"}
    assert names(blueprints) == {"shop"}


def test_no_credentials_of_the_machine_are_sent(
    blueprints, trusted: GitServer, tmp_path, monkeypatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    touched = tmp_path / "touched"
    (tmp_path / ".gitconfig").write_text(f"[credential]\nhelper = !touch {touched}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_ASKPASS", f"touch {touched}")

    with pytest.raises(CommandError, match=r"git can't clone.*Clone a private repository yourself"):
        run_import(trusted.private_url, "--name", "shop")

    assert trusted.seen
    assert not any("authorization" in headers for headers in trusted.seen)
    assert not touched.exists()
    assert names(blueprints) == set()


def test_a_server_that_is_not_trusted_or_has_no_such_branch_is_explained(
    blueprints, server: GitServer, monkeypatch
) -> None:
    with pytest.raises(CommandError, match="certificate"):
        run_import(server.url, "--name", "shop")
    monkeypatch.setenv("GIT_SSL_CAINFO", str(server.authority))
    with pytest.raises(CommandError, match="Remote branch nope not found"):
        run_import(server.url, "--name", "shop", "--branch", "nope")
    assert names(blueprints) == set()


def test_a_server_that_does_not_answer_is_given_up(blueprints, monkeypatch) -> None:
    monkeypatch.setattr(git, "SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}/shop.git"
        with pytest.raises(CommandError, match="didn't answer within"):
            run_import(address)
    assert names(blueprints) == set()


@pytest.mark.parametrize(("limit", "message"), [("MAX_BYTES", "MB"), ("MAX_SECONDS", "took more")])
def test_a_clone_ends_at_its_bounds(
    blueprints, trusted: GitServer, monkeypatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(git, limit, -1)
    with pytest.raises(CommandError, match=message):
        run_import(trusted.url, "--name", "shop")
    assert names(blueprints) == set()
