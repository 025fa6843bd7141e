"""Images are adapted to the confinement: no volumes, the blueprint's files, the right owners."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from sandboxes.runtime import Bind, ImageRecipe, image_name
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.containers.container_config import ROOT_CAPABILITIES
from sandboxes.runtime.docker.images.errors import ImageError
from sandboxes.runtime.docker.images.prepare import (
    PreparedImage,
    check_images,
    prepare_images,
)
from sandboxes.runtime.docker.images.removal import remove_unused
from tests.harness.busybox_image import add, static_busybox

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ACCOUNTS = b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\ndb:x:70:71::/data:/bin/sh\n"
OFFICIAL = """
FROM {root}
VOLUME /data /new/volume
ENV A=1 B=two
ENTRYPOINT ["/bin/busybox"]
CMD ["true"]
EXPOSE 5432/tcp
LABEL vendor=example
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-e"]
ONBUILD USER db
WORKDIR /data
HEALTHCHECK CMD true
"""
"""What images of databases declare; like them, this one starts as root."""


def official_root(busybox: bytes) -> bytes:
    """Return the file system of an image like a database's, with data in its volume."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("bin", "etc", "run", "var", "app", "app/modules", "app/src"):
            add(tar, name, type=tarfile.DIRTYPE, mode=0o755)
        add(tar, "bin/busybox", busybox, mode=0o755)
        add(tar, "bin/sh", type=tarfile.SYMTYPE, linkname="busybox")
        add(tar, "etc/passwd", ACCOUNTS)
        add(tar, "etc/group", b"root:x:0:\nstaff:x:50:\n")
        add(tar, "etc/settings", b"of the image")
        add(tar, "var/run", type=tarfile.SYMTYPE, linkname="../run")
        add(tar, "data", type=tarfile.DIRTYPE, mode=0o1700, uid=70, gid=71)
        special: dict[str, Any] = {"uid": 70, "gid": 71, "mode": 0o4640}
        add(tar, "data/seed", b"seed", **special)
        add(tar, "data/same", type=tarfile.LNKTYPE, linkname="data/seed", **special)
        add(tar, "app/modules/kept", b"kept")
        add(tar, "app/src/hidden", b"hidden")
    return archive.getvalue()


@dataclass
class Workshop:
    """Prepares services of one blueprint from an image like a database's."""

    client: docker.APIClient
    image: str
    blueprint: str = field(default_factory=lambda: f"tests{secrets.token_hex(4)}")
    messages: list[str] = field(default_factory=list)

    @property
    def engine(self) -> EngineClient:
        return EngineClient("", 60)

    def prepare(self, **recipe: Any) -> PreparedImage:
        return self.prepare_all({"db": ImageRecipe(self.image, **recipe)})["db"]

    def prepare_all(self, recipes: Mapping[str, ImageRecipe]) -> dict[str, PreparedImage]:
        return prepare_images(self.engine, self.blueprint, recipes, self.messages.append)

    def run(
        self, image: PreparedImage, user: str, script: str, capabilities: Sequence[str] = ()
    ) -> str:
        """Return the output of a shell script in a container with few or no capabilities."""
        created = self.client.create_container_from_config(
            {
                "Image": image.id,
                "User": user,
                "Entrypoint": ["/bin/sh", "-c", script],
                "HostConfig": {
                    "NetworkMode": "none",
                    "CapDrop": ["ALL"],
                    "CapAdd": list(capabilities),
                    "SecurityOpt": ["no-new-privileges"],
                },
            }
        )["Id"]
        try:
            self.client.start(created)
            self.client.wait(created)
            assert self.client.inspect_container(created)["Mounts"] == []
            return str(self.client.logs(created).decode())
        finally:
            self.client.remove_container(created)

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.client.inspect_image(name))

    def tags(self) -> set[str]:
        found = self.client.images(filters={"reference": f"sandboxportal/{self.blueprint}-*"})
        return {tag for image in found for tag in image["RepoTags"]}

    def unnamed(self) -> set[str]:
        label = f"sandboxportal.image={image_name(self.blueprint, 'db')}"
        filters = {"label": label, "dangling": True}
        return {image["Id"] for image in self.client.images(filters=filters)}

    def clear(self) -> None:
        for tag in self.tags():
            self.client.remove_image(tag)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    client = docker.APIClient(timeout=60)
    name = f"sandboxportal-tests/official-{secrets.token_hex(4)}"
    root = official_root(static_busybox(tmp_path_factory.mktemp("busybox")))
    client.import_image_from_data(root, repository=name, tag="root")
    dockerfile = io.BytesIO(OFFICIAL.format(root=f"{name}:root").encode())
    steps = client.build(fileobj=dockerfile, tag=f"{name}:1", rm=True, decode=True)
    assert not [step for step in steps if "error" in step]
    yield f"{name}:1"
    client.remove_image(f"{name}:1")
    client.remove_image(f"{name}:root")


@pytest.fixture
def workshop(official: str) -> Iterator[Workshop]:
    found = Workshop(docker.APIClient(timeout=60), official)
    yield found
    found.clear()


def test_volumes_become_directories_and_all_else_stays(workshop: Workshop) -> None:
    prepared = workshop.prepare(user="db")
    before, after = workshop.describe(workshop.image), workshop.describe(prepared.id)
    changed = {"Volumes", "Labels"}
    assert before["Config"]["Volumes"] and not after["Config"]["Volumes"]
    assert {k: v for k, v in before["Config"].items() if k not in changed} == {
        k: v for k, v in after["Config"].items() if k not in changed
    }
    assert before["Config"]["Labels"].items() < after["Config"]["Labels"].items()
    shared = before["RootFS"]["Layers"]
    assert after["RootFS"]["Layers"][: len(shared)] == shared
    script = """
    busybox stat -c '%n %U:%g %a' /data /new/volume
    busybox stat -c '%n %U:%g %a links=%h' /data/seed; busybox cat /data/seed
    """
    assert workshop.run(prepared, "db", script).splitlines() == [
        *("/data db:71 1700", "/new/volume db:71 755", "/data/seed db:71 4640 links=2", "seed")
    ]


@pytest.mark.parametrize(
    ("user", "owner"), [("db", "70:71"), ("1234", "1234:0"), ("db:staff", "70:50"), ("70", "70:71")]
)
def test_directories_are_writable_for_the_services_user(
    workshop: Workshop, user: str, owner: str
) -> None:
    directories = ["/data/deep/er", "/var/run/app", "/data", "/etc"]
    prepared = workshop.prepare(
        user=user, directories=directories, shared_directories=["/shared"], tmpfs=["/memory"]
    )
    script = """
    for path in /data/deep/er /run/app /data /etc /shared; do
        busybox touch $path/new && busybox stat -c '%n %u:%g' $path
    done
    busybox stat -c '%n %u:%g %a' /data/deep /run /shared /memory; busybox readlink /var/run
    """
    found = workshop.run(prepared, user, script).splitlines()
    data = owner if user == "1234" else "70:71"
    assert found[:5] == [
        *(f"/data/deep/er {owner}", f"/run/app {owner}", f"/data {data}"),
        *(f"/etc {owner}", f"/shared {owner}"),
    ]
    assert found[5:] == [
        *("/data/deep 0:0 755", "/run 0:0 755", f"/shared {owner} 777"),
        *(f"/memory {owner} 1777", "../run"),
    ]


def test_a_service_with_root_can_take_over_its_data_and_become_another_user(
    workshop: Workshop,
) -> None:
    prepared = workshop.prepare(root=True, directories=["/data/pages"])
    script = """
    busybox chown db:staff /data/pages
    exec busybox su -s /bin/sh db -c 'busybox touch /data/pages/one && busybox id -un'
    """
    assert workshop.run(prepared, "", script, ROOT_CAPABILITIES) == "db\n"


def test_files_of_the_blueprint_replace_those_of_the_image(
    workshop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "code" / "src").mkdir(parents=True)
    (tmp_path / "code" / "src" / "main").write_text("main")
    (tmp_path / "code" / "modules").mkdir()
    (tmp_path / "code" / "modules" / "of-the-host").touch()
    (tmp_path / "code" / "link").symlink_to("src/main")
    (tmp_path / "code" / "conf" / "of-the-code").mkdir(parents=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own").touch()
    (tmp_path / "settings").write_text("of the blueprint")
    (tmp_path / "settings").chmod(0o600)
    binds = {
        "/app": Bind(tmp_path / "code"),
        "/app/conf": Bind(tmp_path / "conf"),
        "/etc/settings": Bind(tmp_path / "settings", read_only=True),
        "/var/run/tool/settings": Bind(tmp_path / "settings"),
    }
    prepared = workshop.prepare(user="db", binds=binds, directories=["/app/modules"])
    script = """
    cd /app; busybox find . | busybox sort; busybox cat link; echo
    busybox stat -c '%n %u:%g %a' /app src/main /etc /etc/settings /run/tool/settings
    busybox cat /etc/settings; busybox touch modules/new && echo . writable
    """
    assert workshop.run(prepared, "db", script).splitlines() == [
        *(
            ".",
            "./conf",
            "./conf/own",
            "./link",
            "./modules",
            "./modules/kept",
            "./src",
            "./src/main",
            "main",
        ),
        *("/app 70:71 755", "src/main 70:71 644", "/etc 0:0 755", "/etc/settings 0:0 644"),
        *("/run/tool/settings 70:71 644", "of the blueprint. writable"),
    ]


def test_an_image_is_prepared_again_only_after_a_change(workshop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("one")
    recipe = {"user": "db", "binds": {"/settings": Bind(file)}}
    first = workshop.prepare(**recipe)
    assert workshop.prepare(**recipe) == first
    name = image_name(workshop.blueprint, "db")
    assert workshop.messages == [f"{name}: preparing", f"{name}: up to date"]
    file.write_text("two")
    second = workshop.prepare(**recipe)
    assert workshop.tags() == {first.name, second.name, f"{name}:latest"}
    assert workshop.describe(name)["Id"] == second.id != first.id

    remove_unused(workshop.engine, [name], keep=[first.id])
    assert first.name in workshop.tags()
    remove_unused(workshop.engine, [name], keep=[])
    assert workshop.tags() == {second.name, f"{name}:latest"}
    assert workshop.unnamed() == set()


def test_an_image_that_needs_no_change_is_used_as_it_is(workshop: Workshop) -> None:
    plain = workshop.prepare(user="db").id
    service = ImageRecipe(plain, user="db", directories=["/data"])
    prepared = workshop.prepare_all({"plain": service})["plain"]
    assert prepared.id == plain
    assert prepared.name.startswith(image_name(workshop.blueprint, "plain"))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, r"services\.db: The image .* runs as root\. Set `user`, or .*, to .* \(db\)"),
        ({"user": "toor"}, "runs as root"),
        ({"user": "stranger"}, r"no user or group “stranger”\. Set `user` to .* \(db\)"),
        ({"user": "db:nobodies"}, "no user or group “nobodies”"),
        ({"user": "db", "read_only": True}, r"keeps data in /data, /new/volume, but .* read-only"),
    ],
)
def test_what_keeps_an_image_from_running_is_found_before_a_launch(
    workshop: Workshop, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(ImageError, match=message) as failure:
        workshop.prepare(**recipe)
    recipes = {"db": ImageRecipe(workshop.image, **recipe)}
    (problem,) = check_images(workshop.engine, workshop.blueprint, recipes)
    assert (problem.place, problem.message) == (failure.value.place, failure.value.message)
    allowed = {"db": ImageRecipe(workshop.image, root=True)}
    assert check_images(workshop.engine, workshop.blueprint, allowed) == []


def test_secrets_in_files_need_a_shell_which_is_found_before_a_launch(workshop: Workshop) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        add(tar, "server", b"a static program", mode=0o755)
    name = f"sandboxportal/{workshop.blueprint}-without-shell"
    workshop.client.import_image_from_data(archive.getvalue(), repository=name, tag="1")
    recipe = ImageRecipe(f"{name}:1", user="1000", needs_shell=True)

    (problem,) = check_images(workshop.engine, workshop.blueprint, {"web": recipe})

    assert problem.place == "services.web"
    assert problem.message == f"The image {name}:1 has no /bin/sh, which secrets in files need."
    assert "environment variables" in problem.remedy
    plain = replace(recipe, needs_shell=False)
    assert check_images(workshop.engine, workshop.blueprint, {"web": plain}) == []


def test_a_failure_leaves_nothing_behind(workshop: Workshop, tmp_path: Path) -> None:
    good = ImageRecipe(workshop.image, user="db")
    bad = ImageRecipe(workshop.image, user="db", directories=["/etc/settings"])
    with pytest.raises(ImageError, match=r"services\.web: /etc/settings is a file in the image"):
        workshop.prepare_all({"db": good, "web": bad})
    assert workshop.tags() == workshop.unnamed() == set()
    of_blueprint = {"label": f"sandboxportal.reading={image_name(workshop.blueprint, 'web')}"}
    assert workshop.client.containers(all=True, filters=of_blueprint) == []
