"""Images are pulled with the credentials of Docker's own configuration."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from sandboxes.runtime import ImageRecipe, image_name
from sandboxes.runtime.docker.client import EngineClient
from sandboxes.runtime.docker.images.errors import ImageError, pull_error
from sandboxes.runtime.docker.images.prepare import prepare_images
from tests.harness import registry
from tests.harness.busybox_image import import_busybox_image

HELPER = """#!/bin/sh
echo '{"Username": "ada", "Secret": "secret"}'
"""


@dataclass
class Registry:
    """A registry that has one image, which the engine doesn't have."""

    host: str
    client: docker.APIClient

    @property
    def image(self) -> str:
        return f"{self.host}/team/tiny:1"

    def prepare(self, image: str = "") -> list[str]:
        """Prepare a service with this image; return the progress messages."""
        messages: list[str] = []
        recipes = {"web": ImageRecipe(image or self.image)}
        try:
            prepare_images(EngineClient("", 60), "registry-tests", recipes, messages.append)
        finally:
            self.clear()
        return messages

    def clear(self) -> None:
        for image in self.client.images(name=image_name("registry-tests", "web")):
            for tag in image["RepoTags"]:
                self.client.remove_image(tag)
        if self.client.images(name=self.image):
            self.client.remove_image(self.image)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    client = docker.APIClient(timeout=60)
    with (
        import_busybox_image(tmp_path_factory.mktemp("image")) as tiny,
        registry.run_registry(tmp_path_factory.mktemp("registry"), client) as host,
    ):
        found = Registry(host, client)
        client.tag(tiny, *found.image.rsplit(":", 1))
        account = {"username": registry.USER, "password": registry.PASSWORD}
        assert "error" not in client.push(found.image, auth_config=account)
        found.clear()
        yield found


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file with the `docker` command's configuration, which doesn't exist yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "config.json"


def needs_registry(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that runs a registry, whose certificate the machine's engine has to trust."""
    for mark in (pytest.mark.engine, pytest.mark.root, pytest.mark.slow):
        test = mark(test)
    return test


def account(host: str, password: str) -> str:
    encoded = base64.b64encode(f"{registry.USER}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": encoded}}})


@needs_registry
def test_an_image_is_pulled_with_its_users_account(pushed: Registry, docker_config: Path) -> None:
    docker_config.write_text(account(pushed.host, registry.PASSWORD))
    assert f"{pushed.image}: pulling" in pushed.prepare()


@needs_registry
@pytest.mark.filterwarnings("ignore:docker-credential-tests not installed")
def test_credential_helpers_are_asked(pushed: Registry, docker_config: Path) -> None:
    helper = docker_config.with_name("docker-credential-tests")
    helper.write_text(HELPER)
    docker_config.write_text(json.dumps({"credHelpers": {pushed.host: "tests"}}))
    with pytest.raises(ImageError, match=r"services\.web\.image: .*credentials.*helper"):
        pushed.prepare()
    helper.chmod(0o755)
    assert f"{pushed.image}: pulling" in pushed.prepare()


@needs_registry
def test_an_image_that_cannot_be_pulled_is_reported_with_a_remedy(
    pushed: Registry, docker_config: Path
) -> None:
    with pytest.raises(ImageError, match=rf"services\.web\.image: .*docker login {pushed.host}`"):
        pushed.prepare()
    docker_config.write_text(account(pushed.host, "wrong"))
    with pytest.raises(ImageError, match=rf"docker login {pushed.host}`"):
        pushed.prepare()
    docker_config.write_text(account(pushed.host, registry.PASSWORD))
    with pytest.raises(ImageError, match=r"team/tiny:2 .*Correct the image's name or tag"):
        pushed.prepare(pushed.image.replace(":1", ":2"))
    with pytest.raises(ImageError, match=r"Check that the engine reaches 127\.0\.0\.1:1"):
        pushed.prepare("127.0.0.1:1/x/y:1")


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("pull access denied for x, repository does not exist", "`docker login registry.test`"),
        ("toomanyrequests: You have reached your pull rate limit", "Wait, or run"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d/registry.test/"),
        ("no matching manifest for linux/arm64/v8", "the engine's platform"),
        ("write /var/lib/docker/tmp/x: no space left on device", "Free disk space"),
        ("something else", "`docker pull registry.test/x`"),
    ],
)
def test_each_reason_of_a_registry_has_a_remedy(reason: str, remedy: str) -> None:
    assert remedy in str(pull_error("registry.test/x", reason))
