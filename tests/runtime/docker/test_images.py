"""Images are built as `docker build` does it, and only when one of their inputs has changed."""

from __future__ import annotations

import io
import itertools
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sandboxes.blueprints import load
from sandboxes.runtime import ImageBuild, RuntimeFailure, image_name
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images import builders
from sandboxes.runtime.docker.images.base_image import ensure_base, require_mmdebstrap
from sandboxes.runtime.docker.images.build import IMAGE, ensure_built
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.images.dockerfile import base_images
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.names import full_name

DOCKERFILE = "ARG BASE\nFROM ${BASE}\nCOPY data /data\n"


@dataclass
class Project:
    """A build context: a Dockerfile that copies the directory `data`."""

    root: Path
    image: str = field(default_factory=lambda: f"sandboxportal-tests/{secrets.token_hex(6)}:build")
    messages: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.write(".dockerignore", "*\n!data\n")
        self.write("images/Dockerfile", DOCKERFILE)
        self.write("data/greeting", "hello\n")

    @property
    def build(self) -> ImageBuild:
        wheels = self.root / "images" / "requirements.txt"
        return ImageBuild(
            self.root,
            self.root / "images" / "Dockerfile",
            debian_arg="BASE",
            wheels=wheels if wheels.exists() else None,
            **self.options,
        )

    @property
    def context(self) -> BuildContext:
        return BuildContext(self.build)

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def names(self) -> list[str]:
        return [file.relative_to(self.root).as_posix() for file in self.context.paths()]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_ignored_files_are_not_sent(project: Project) -> None:
    project.write("secrets.txt", "x")
    assert project.names() == [".dockerignore", "data", "data/greeting", "images/Dockerfile"]


def test_a_dockerfile_can_have_its_own_dockerignore(project: Project) -> None:
    project.write("images/Dockerfile.dockerignore", "*\n!other\n")
    project.write("other/file", "x")
    assert project.names() == [".dockerignore", "images/Dockerfile", "other", "other/file"]


def test_without_a_dockerignore_everything_is_sent_and_links_stay_links(project: Project) -> None:
    (project.root / ".dockerignore").unlink()
    (project.root / "empty").mkdir()
    (project.root / "link").symlink_to("data")
    os.mkfifo(project.root / "pipe")
    assert project.names() == [
        *("data", "data/greeting", "empty", "images", "images/Dockerfile", "link")
    ]
    with project.context.archive("amd64") as archive, tarfile.open(fileobj=archive) as tar:
        link = tar.getmember("link")
        assert (link.issym(), link.linkname) == (True, "data")
        assert tar.getmember("empty").isdir()


def test_a_dockerfile_may_be_outside_of_the_context(project: Project) -> None:
    context = BuildContext(replace(project.build, context=project.root / "data"))
    assert [path.name for path in context.paths()] == ["greeting"]
    with context.archive("amd64") as archive, tarfile.open(fileobj=archive) as tar:
        file = tar.extractfile(context.dockerfile_name)
        assert file and file.read().decode() == DOCKERFILE
    assert context.fingerprint() != project.context.fingerprint()


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
    (project.root / "data" / "link").symlink_to("renamed")
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
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}
    assert {member.mode for member in members} == {0o644, 0o755}


def test_unavailable_packages_are_reported(project: Project) -> None:
    project.write("images/requirements.txt", "six==1.17.0 --hash=sha256:" + "0" * 64)
    with pytest.raises(RuntimeFailure, match=r"requirements\.txt couldn't be downloaded"):
        project.context.archive("amd64")


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", "x86_64"), ("arm64", "aarch64")])
def test_wheels_match_the_engines_architecture(architecture: str, machine: str) -> None:
    build = load("billing").recipes["api"].build
    assert build
    with BuildContext(build).archive(architecture) as archive, tarfile.open(fileobj=archive) as tar:
        names = tar.getnames()
    compiled = [name for name in names if name.startswith("site-packages/psycopg2/_psycopg")]
    assert compiled and all(machine in name and "311" in name for name in compiled)
    assert "site-packages/waitress/server.py" in names
    assert not any("__pycache__" in name for name in names)


def test_the_images_of_the_stages_that_a_target_needs_are_its_base_images() -> None:
    dockerfile = """
    # FROM commented:1
    ARG VERSION=3.12
    ARG VARIANT
    FROM --platform=$BUILDPLATFORM python:${VERSION}${VARIANT:+-$VARIANT} AS base
    FROM unused:1 AS other
    FROM base AS build
    RUN <<END
    FROM heredoc:1
    END
    COPY --from=tools:2 \\
      /bin/tool /bin/
    RUN --mount=type=bind,from=cache:3,target=/x true
    FROM scratch
    COPY --from=build / /
    FROM ${UNKNOWN} AS last
    """
    assert base_images(dockerfile, {"VARIANT": "slim"}, "build") == [
        *("cache:3", "python:3.12-slim", "tools:2")
    ]
    assert base_images(dockerfile, {"VERSION": "3.13"}, "base") == ["python:3.13"]
    assert base_images(dockerfile, {}) == []


class Engine:
    """The machine's engine, from which all images of a project are removed."""

    def __init__(self, project: Project) -> None:
        self.engine = EngineClient("", 120)
        self.client = self.engine.client()
        self.project = project
        self.base = ensure_base(self.client, project.messages.append)

    def ensure(self, *, force: bool = False) -> bool:
        """Build if necessary; return whether it was."""
        project, before = self.project, len(self.project.messages)
        arguments = (self.engine, self.client, project.image, project.build)
        assert ensure_built(*arguments, project.messages.append, force=force) == self.id()
        return len(project.messages) > before

    def id(self) -> str:
        return str(self.client.inspect_image(self.project.image)["Id"])

    def versions(self) -> set[str]:
        label = f"{IMAGE}={self.project.image}"
        return set(self.client.images(quiet=True, filters={"label": label}))

    def read(self, path: str) -> dict[str, bytes]:
        """Return the files and links below a path of the image, with their contents or targets."""
        container = self.client.create_container(self.project.image, ["true"])["Id"]
        try:
            chunks, _ = self.client.get_archive(container, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
                return {one.name: self._content(tar, one) for one in tar}
        finally:
            self.client.remove_container(container)

    @staticmethod
    def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        file = tar.extractfile(member) if member.isfile() else None
        return file.read() if file else member.linkname.encode()

    def clear(self) -> None:
        for image in self.versions():
            self.client.remove_image(image, force=True)


@pytest.fixture
def engine(project: Project) -> Iterator[Engine]:
    found = Engine(project)
    yield found
    found.clear()


def use_builder(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make builds use BuildKit or the classic builder."""
    if kind == "classic":
        monkeypatch.setattr(builders, "has_buildkit", lambda *_: False)
        return
    environment = builders.command_environment("")
    paths = os.environ["PATH"].split(os.pathsep)
    commands = [found for path in paths if (found := shutil.which("docker", path=path))]
    able = [found for found in commands if builders.has_buildkit(found, environment)]
    if not able:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("no docker command here can build with BuildKit")
    monkeypatch.setattr("shutil.which", lambda _: able[0])


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "BuildKit"])
def test_an_image_is_built_as_docker_build_does_it(
    engine: Engine, project: Project, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_builder(kind, monkeypatch)
    project.write(".dockerignore", "*.log\n!keep.log\n")
    for name in ("drop.log", "keep.log", "requirements.txt"):
        project.write(name, "without==hashes")
    (project.root / "empty").mkdir()
    (project.root / "link").symlink_to("/nowhere")
    inline = """
    ARG BASE
    FROM ${BASE} AS first
    ARG WORD=none
    COPY . /context
    RUN echo $WORD >/context/word
    FROM first
    RUN echo wrong stage >/context/word
    """
    project.options = {"dockerfile_inline": inline, "args": {"WORD": "hi"}, "target": "first"}
    assert engine.ensure()
    found = engine.read("/context")
    assert found["context/link"] == b"/nowhere" and "context/empty" in found
    assert found["context/word"] == b"hi\n"
    assert {name for name in found if "log" in name} == {"context/keep.log"}
    assert not any("separate" in name for name in found)
    assert found["context/requirements.txt"] == b"without==hashes"


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "BuildKit"])
def test_a_failed_step_is_reported_with_its_output(
    engine: Engine, project: Project, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_builder(kind, monkeypatch)
    project.write("images/Dockerfile", "ARG BASE\nFROM ${BASE}\nRUN echo last words; exit 7\n")
    with pytest.raises(ImageError, match=r"couldn't be built: .*exit 7") as failure:
        engine.ensure()
    assert "last words" in failure.value.output
    assert engine.versions() == set()


@pytest.mark.engine
def test_an_image_is_rebuilt_only_after_a_change(engine: Engine, project: Project) -> None:
    assert engine.ensure()
    first = engine.id()
    assert engine.read("/data/greeting") == {"greeting": b"hello\n"}
    assert not engine.ensure() and engine.id() == first
    project.write("data/greeting", "good evening\n")
    assert engine.ensure() and engine.id() != first
    assert engine.read("/data/greeting") == {"greeting": b"good evening\n"}
    assert engine.versions() == {engine.id()}, "the old version is gone"
    assert [line.split()[1] for line in project.messages] == ["building", "built"] * 2


@pytest.mark.engine
def test_an_image_is_rebuilt_after_a_change_of_its_base_image(
    engine: Engine, project: Project
) -> None:
    base = f"{project.image.partition(':')[0]}:base"
    project.options = {"dockerfile_inline": f"FROM {base}\nLABEL built=yes\n"}
    for text in ("one", "two"):
        other = replace(project, image=base, options={})
        project.write("data/greeting", text)
        ensure_built(engine.engine, engine.client, base, other.build, project.messages.append)
        assert engine.ensure() and not engine.ensure()
    engine.client.remove_image(project.image)
    engine.client.remove_image(base)


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


def test_every_service_has_an_image_name_of_its_own() -> None:
    services = ("db", "Db", "d.b", "a_b", "a-b", "api-db", "-", "__")
    blueprints = ("shop", "shop-api", "shop_api", "shop-", "shop--api", "try-shop")
    names = {pair: image_name(*pair) for pair in itertools.product(blueprints, services)}
    assert names["shop", "db"] == "sandboxportal/shop-db"
    assert len(set(names.values())) == len(names)
    component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"  # As the engine has it.
    assert all(re.fullmatch(f"sandboxportal/{component}", name) for name in names.values())


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
