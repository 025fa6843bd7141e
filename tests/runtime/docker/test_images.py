"""Images are rebuilt only when one of their inputs has changed."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest
from django.core.management import CommandError, call_command

from sandboxes.blueprints import load
from sandboxes.runtime import ImageBuild, RuntimeFailure
from sandboxes.runtime.docker.images.base_image import ensure_base, require_mmdebstrap
from sandboxes.runtime.docker.images.build import (
    IMAGE,
    BuildFailed,
    NamedBuild,
    ensure_image,
    ensure_images,
)
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.names import full_name

DOCKERFILE = "ARG BASE\nFROM ${BASE}\nCOPY data /data\n"


@dataclass
class Project:
    """A build context: a Dockerfile that copies the directory `data`."""

    root: Path
    image: str = field(default_factory=lambda: f"sandboxportal-tests/{secrets.token_hex(6)}")
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write(".dockerignore", "*\n!data\n")
        self.write("images/Dockerfile", DOCKERFILE)
        self.write("data/greeting", "hello\n")

    @property
    def dockerfile(self) -> Path:
        return self.root / "images" / "Dockerfile"

    @property
    def context(self) -> BuildContext:
        return BuildContext(self.root, self.dockerfile, self.wheels)

    @property
    def wheels(self) -> Path | None:
        file = self.root / "images" / "requirements.txt"
        return file if file.exists() else None

    @property
    def wanted(self) -> NamedBuild:
        build = ImageBuild(self.root, self.dockerfile, debian_arg="BASE", wheels=self.wheels)
        return NamedBuild(self.image, build)

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def names(self) -> list[str]:
        return [file.relative_to(self.root).as_posix() for file in self.context.files()]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_ignored_files_are_not_sent(project: Project) -> None:
    project.write("secrets.txt", "x")
    assert project.names() == ["data/greeting", "images/Dockerfile"]


def test_a_dockerfile_can_have_its_own_dockerignore(project: Project) -> None:
    project.write("images/Dockerfile.dockerignore", "*\n!other\n")
    project.write("other/file", "x")
    assert project.names() == ["images/Dockerfile", "other/file"]


def test_without_a_dockerignore_all_files_are_sent(project: Project) -> None:
    (project.root / ".dockerignore").unlink()
    project.write("more", "x")
    assert project.names() == ["data/greeting", "images/Dockerfile", "more"]


def test_the_fingerprint_depends_on_every_input(project: Project) -> None:
    fingerprints = [project.context.fingerprint("base")]
    assert project.context.fingerprint("base") == fingerprints[0]
    fingerprints.append(project.context.fingerprint("another base"))
    for name, text in (
        ("data/greeting", "good evening\n"),
        ("data/another", ""),
        ("images/Dockerfile", DOCKERFILE + "USER 1000\n"),
        ("images/requirements.txt", "six==1.17.0\n"),
        ("images/requirements.txt", "six==1.16.0\n"),
    ):
        project.write(name, text)
        fingerprints.append(project.context.fingerprint("base"))
    (project.root / "data" / "greeting").chmod(0o755)
    fingerprints.append(project.context.fingerprint("base"))
    (project.root / "data" / "another").rename(project.root / "data" / "renamed")
    fingerprints.append(project.context.fingerprint("base"))
    assert len(set(fingerprints)) == len(fingerprints)


def test_the_fingerprint_does_not_depend_on_ignored_files(project: Project) -> None:
    before = project.context.fingerprint()
    project.write("notes.txt", "x")
    (project.root / "data" / "greeting").touch()
    assert project.context.fingerprint() == before


def test_an_archive_does_not_identify_its_creator(project: Project) -> None:
    with project.context.archive("amd64") as archive, tarfile.open(fileobj=archive) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["data/greeting", "images/Dockerfile"]
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {
        (0, 0, "", 0o644)
    }


def test_unavailable_packages_are_reported(project: Project) -> None:
    project.write("images/requirements.txt", "six==1.17.0 --hash=sha256:" + "0" * 64)
    with pytest.raises(RuntimeFailure, match=r"requirements\.txt couldn't be downloaded"):
        project.context.archive("amd64")


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_wheels_match_the_engines_architecture(architecture: str, machine: str) -> None:
    build = load("billing").recipes["api"].build
    assert build
    context = BuildContext.of(build)
    with context.archive(architecture) as archive, tarfile.open(fileobj=archive) as tar:
        names = tar.getnames()
    compiled = [name for name in names if name.startswith("site-packages/psycopg2/_psycopg")]
    assert compiled and all(machine in name and "311" in name for name in compiled)
    assert "site-packages/waitress/server.py" in names
    assert not any("__pycache__" in name for name in names)


class Engine:
    """The machine's engine, from which all images of a project are removed."""

    def __init__(self, project: Project) -> None:
        self.client = docker.APIClient(timeout=120)
        self.project = project
        self.base = ensure_base(self.client, project.messages.append)

    def ensure(self, **options: bool) -> bool:
        wanted, log = self.project.wanted, self.project.messages.append
        return ensure_image(self.client, wanted, self.base, log, **options)

    def id(self) -> str:
        return str(self.client.inspect_image(self.project.image)["Id"])

    def versions(self) -> set[str]:
        label = f"{IMAGE}={self.project.image}"
        return set(self.client.images(quiet=True, filters={"label": label}))

    def read(self, path: str) -> bytes:
        """Return the contents of a file in the image."""
        container = self.client.create_container(self.project.image, ["true"])["Id"]
        try:
            chunks, _ = self.client.get_archive(container, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
                found = tar.extractfile(tar.getmembers()[0])
                assert found
                return found.read()
        finally:
            self.client.remove_container(container)

    def clear(self) -> None:
        for image in self.versions():
            self.client.remove_image(image, force=True)


@pytest.fixture
def engine(project: Project) -> Iterator[Engine]:
    found = Engine(project)
    yield found
    found.clear()


@pytest.mark.engine
def test_an_image_is_rebuilt_only_after_a_change(engine: Engine, project: Project) -> None:
    assert engine.ensure()
    first = engine.id()
    assert engine.read("/data/greeting") == b"hello\n"
    assert not engine.ensure() and engine.id() == first
    project.write("data/greeting", "good evening\n")
    assert engine.ensure() and engine.id() != first
    assert engine.read("/data/greeting") == b"good evening\n"
    assert engine.versions() == {engine.id()}, "the old version is gone"
    messages = [line.removeprefix(f"{project.image}: ").split()[0] for line in project.messages]
    assert messages == ["building", "built", "up", "building", "built"]


@pytest.mark.engine
def test_building_can_be_forced(engine: Engine) -> None:
    assert engine.ensure()
    assert engine.ensure(force=True)


@pytest.mark.engine
def test_a_removed_image_is_rebuilt(engine: Engine) -> None:
    engine.ensure()
    engine.clear()
    assert engine.ensure()


@pytest.mark.engine
def test_an_old_version_stays_while_a_container_uses_it(engine: Engine, project: Project) -> None:
    engine.ensure()
    first = engine.id()
    container = engine.client.create_container(project.image, ["true"])["Id"]
    project.write("data/greeting", "second\n")
    engine.ensure()
    assert first in engine.versions()
    engine.client.remove_container(container)
    project.write("data/greeting", "third\n")
    engine.ensure()
    assert engine.versions() == {engine.id()}


@pytest.mark.engine
def test_a_failed_step_is_reported_with_its_output(engine: Engine, project: Project) -> None:
    project.write("images/Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo last words; exit 7\n")
    with pytest.raises(BuildFailed, match="exit 7") as failure:
        ensure_images(engine.client, [project.wanted], project.messages.append)
    assert "last words" in failure.value.output
    assert engine.versions() == set()


@pytest.mark.engine
def test_an_existing_debian_is_used_as_the_base_image(engine: Engine) -> None:
    messages: list[str] = []
    assert ensure_base(engine.client, messages.append) == engine.base
    assert messages == []


@pytest.mark.engine
def test_the_command_reports_up_to_date_images(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call_command("build_images")
    capsys.readouterr()
    call_command("build_images", "billing")
    assert sorted(capsys.readouterr().out.splitlines()) == [
        f"{image}: up to date" for image in load("billing").images
    ]


def test_the_command_reports_an_unknown_blueprint() -> None:
    with pytest.raises(CommandError, match="no valid blueprint “nothing”"):
        call_command("build_images", "nothing")


def test_the_command_reports_an_unreachable_engine(settings: pytest.FixtureRequest) -> None:
    settings.DOCKER_HOST = "unix:///nowhere/docker.sock"  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="did not answer"):
        call_command("build_images")


def test_without_a_base_image_the_error_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(RuntimeFailure, match="install mmdebstrap"):
        require_mmdebstrap(lambda _: None)


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("tool", "tool:latest"),
        ("docker.io/library/tool:3", "tool:3"),
        ("registry:5000/team/tool", "registry:5000/team/tool:latest"),
        ("registry:5000/team/tool:3@sha256:aa", "registry:5000/team/tool@sha256:aa"),
        ("sha256:aa", "sha256:aa"),
    ],
)
def test_an_image_is_found_under_all_forms_of_its_name(written: str, listed: str) -> None:
    assert full_name(written) == listed
