"""The two ways to build: BuildKit by the `docker` command, or the engine's classic builder.

The SDK can't speak to BuildKit. Where the command is missing or can't do it either, the engine's
own API builds; it knows no `RUN --mount` and no here-documents.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError

from sandboxes.runtime.docker.client import EngineClient, error_message
from sandboxes.runtime.docker.images.build_context import BuildContext
from sandboxes.runtime.docker.images.errors import DISK_FULL, ImageError, one_line

LOG_TAIL_LINES = 12
"""Lines shown of a failed build."""
SILENCE_SECONDS = 600
"""How long a build may take without output."""
PROBE_SECONDS = 10
DEFAULT_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class BuildJob:
    """A build, and what its result is called."""

    name: str
    context: BuildContext
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    use_cache: bool = True


def build(engine: EngineClient, client: APIClient, job: BuildJob) -> None:
    """Build an image with BuildKit if possible. Raises ImageError."""
    environment = command_environment(engine.url)
    command = shutil.which("docker")
    if command and has_buildkit(command, environment):
        build_with_buildkit(command, environment, job, client.version()["Arch"])
    else:
        build_with_classic_builder(client, job)


def command_environment(url: str) -> dict[str, str]:
    """Return the environment in which the `docker` command builds on this engine."""
    chosen = {
        "DOCKER_HOST": url or DEFAULT_SOCKET,
        "DOCKER_BUILDKIT": "1",
        # The engine's own builder, although the user may have chosen another one.
        "BUILDX_BUILDER": "default",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }
    kept = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    return kept | chosen


def has_buildkit(command: str, environment: Mapping[str, str]) -> bool:
    """Return whether the command can build with BuildKit on the engine."""
    try:
        options = run(command, ["build", "--help"], environment)
        server = run(command, ["version", "--format", "{{.Server.Version}}"], environment)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return options.returncode == server.returncode == 0 and "--secret" in options.stdout


def run(
    command: str, words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the words contain no user input
        [command, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROBE_SECONDS,
    )


def build_with_buildkit(
    command: str, environment: Mapping[str, str], job: BuildJob, architecture: str
) -> None:
    """Build with the `docker` command. Raises ImageError."""
    context, build = job.context, job.context.build
    with ExitStack() as stack:
        root = str(context.root)
        dockerfile = "-" if build.dockerfile_inline else str(build.dockerfile)
        text = build.dockerfile_inline
        if build.wheels:
            root = stack.enter_context(tempfile.TemporaryDirectory())
            archive = stack.enter_context(context.archive(architecture))
            with tarfile.open(fileobj=archive) as tar:
                # The archive was made a moment ago; links stay as they are in the context.
                # Python 3.11.2, which Debian 12 has, doesn't know the argument `filter`.
                tar.extraction_filter = lambda member, _path: member
                tar.extractall(root)  # noqa: S202 - our own archive
            dockerfile, text = f"{root}/{context.dockerfile_name}", ""
            # The archive has no ignored files, and the ignore file would exclude the wheels.
            Path(f"{dockerfile}.dockerignore").write_text("")
        words = [command, "build", "--progress=plain", f"--tag={job.name}", f"--file={dockerfile}"]
        words += [f"--label={name}={value}" for name, value in job.labels.items()]
        words += [f"--build-arg={name}={value}" for name, value in job.args.items()]
        words += [f"--target={build.target}"] if build.target else []
        words += [] if job.use_cache else ["--no-cache"]
        follow_command([*words, root], environment, text)


def follow_command(words: Sequence[str], environment: Mapping[str, str], stdin: str) -> None:
    """Run a command and read its output to the end. Raises ImageError if it fails."""
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    with subprocess.Popen(  # noqa: S603 - no shell; the words are those of a checked blueprint
        words,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdin
        assert process.stdout
        silence = Silence(process)
        try:
            process.stdin.write(stdin)
            process.stdin.close()
            for line in process.stdout:
                silence.restart()
                if line.strip():
                    tail.append(line.rstrip())
        except BaseException:
            process.kill()  # An interruption ends the build, too.
            raise
        finally:
            silence.stop()
    if silence.expired:
        raise build_failed(f"no output for {SILENCE_SECONDS} seconds", tail)
    if process.returncode:
        raise build_failed(reason(tail), tail)


class Silence:
    """Kills a process that writes nothing for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.expired = process, False
        self._start()

    def _start(self) -> None:
        self._timer = threading.Timer(SILENCE_SECONDS, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        self.expired = True
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._timer.cancel()


def reason(tail: Iterable[str]) -> str:
    """Return the line of BuildKit's output that says why a build failed."""
    lines = list(tail)
    said = [line for line in lines if line.startswith("ERROR:") or "failed" in line]
    return (said or lines or ["no output"])[-1].removeprefix("ERROR: ")


def build_with_classic_builder(client: APIClient, job: BuildJob) -> None:
    """Build with the engine's API. Raises ImageError."""
    with job.context.archive(client.version()["Arch"]) as archive:
        try:
            steps = client.build(
                fileobj=archive,
                custom_context=True,
                dockerfile=job.context.dockerfile_name,
                tag=job.name,
                labels=dict(job.labels),
                buildargs=dict(job.args),
                target=job.context.build.target or None,
                nocache=not job.use_cache,
                rm=True,
                forcerm=True,
                decode=True,
            )
            follow_steps(steps)
        except APIError as error:
            raise build_failed(error_message(error), ()) from error


def follow_steps(steps: Iterable[dict[str, Any]]) -> None:
    """Read the engine's progress messages of a build to the end. Raises ImageError."""
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    for step in steps:
        tail.extend(str(step.get("stream", "")).splitlines())
        if "error" in step:
            raise build_failed(str(step["error"]), tail)


def build_failed(why: str, tail: Iterable[str]) -> ImageError:
    output = "\n".join(tail)
    full = "no space left" in f"{why} {output}"
    remedy = DISK_FULL if full else "Correct the Dockerfile; `docker build` shows the same error."
    return ImageError(f"The image couldn't be built: {one_line(why)}.", remedy, output=output)
