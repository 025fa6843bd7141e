"""Clone public git repositories over https: one commit, and nothing of it is executed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from sandboxes.authoring.errors import AuthoringError
from sandboxes.authoring.sources import MAX_BYTES, MAX_SECONDS, MB

KEPT_VARIABLES = (
    *("PATH", "LANG", "LC_ALL", "TMPDIR"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)
"""Of the environment. Others could make git run programs or send credentials."""
SILENCE_SECONDS = 20.0
"""A server that sends nothing for this long is taken to be away."""
OPTIONS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "credential.helper": "",
    "http.followRedirects": "initial",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": f"{SILENCE_SECONDS:.0f}",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "submodule.recurse": "false",
}
BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
PAUSE_SECONDS = 0.1
MAX_OUTPUT = 300


def is_git_url(source: str) -> bool:
    """Return whether a source is the address of a repository, rather than a path."""
    return "://" in source or bool(re.match(r"[\w.-]+@[\w.-]+:", source))


def clone(url: str, branch: str, target: Path) -> None:
    """Clone one commit of a repository into a new folder. Raises AuthoringError."""
    _check(url, branch)
    command = ["git", *(part for option in OPTIONS.items() for part in ("-c", "=".join(option)))]
    command += ["clone", "--depth=1", "--single-branch", "--no-tags", "--no-recurse-submodules"]
    command += ["--template=", "--quiet"]
    command += [f"--branch={branch}"] if branch else []
    with tempfile.TemporaryDirectory(prefix="blueprint-git-") as home:
        code, output = _run([*command, "--", url, str(target)], Path(home), target)
    if code != 0:
        raise AuthoringError(
            f"git can't clone {url}: {_last_line(output)}",
            "Check the address and the branch. Clone a private repository yourself, and import "
            "the folder.",
        )


def _check(url: str, branch: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise AuthoringError(
            "Only repositories at https addresses are cloned.",
            "Write https://…, or clone the repository yourself and import the folder.",
        )
    if parts.username is not None or parts.password is not None:
        raise AuthoringError(
            "The address contains credentials, which would be visible to other users.",
            "Clone the repository yourself, and import the folder.",
        )
    if parts.query or parts.fragment:
        raise AuthoringError(
            "The address has a query or a fragment.", "Use --branch and --folder instead."
        )
    if branch and not BRANCH.fullmatch(branch):
        raise AuthoringError(f"“{branch}” isn't the name of a branch or tag.", "Correct --branch.")


def _run(command: list[str], home: Path, target: Path) -> tuple[int, str]:
    """Run git until it ends, or exceeds the bounds. Returns the exit code and the output."""
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment |= {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https",
        "GIT_ASKPASS": "true",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }
    start = time.monotonic()
    packs = target / ".git" / "objects" / "pack"
    log = home / "output"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; the address is checked
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=home,
                start_new_session=True,
            )
        except OSError as error:
            raise AuthoringError("git isn't installed.", "Install it.") from error
        try:
            while process.poll() is None:
                seconds = time.monotonic() - start
                if seconds > SILENCE_SECONDS and not any(packs.glob("*")):
                    raise AuthoringError(
                        f"The server didn't answer within {SILENCE_SECONDS:.0f} seconds.",
                        "Check the address and the network.",
                    )
                if seconds > MAX_SECONDS:
                    raise AuthoringError(
                        f"Cloning took more than {MAX_SECONDS:.0f} seconds.",
                        "Clone the repository yourself, and import the folder.",
                    )
                if _size(target) > MAX_BYTES:
                    raise AuthoringError(
                        f"The repository has more than {MAX_BYTES // MB} MB.",
                        "Clone it yourself, and import the folder with the Compose file.",
                    )
                time.sleep(PAUSE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, log.read_text(errors="replace")


def _size(folder: Path) -> int:
    """Return the space that the files of a folder take, in bytes."""
    total, pending = 0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return (lines[-1] if lines else "unknown error")[:MAX_OUTPUT].rstrip(".") + "."
