"""The connection to the engine: one client for each process, time limits, our errors for theirs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from sandboxes.runtime import (
    CapacityExhausted,
    EngineRefused,
    EngineUnreachable,
    ImageMissing,
    RuntimeFailure,
)

Result = TypeVar("Result")

CONNECTION_POOL_SIZE = 32
"""Connections kept open; as many calls may be under way at once before one is made anew."""
MAX_PARALLEL_CALLS = 8
"""Calls that one act has under way at the same time."""
PORT_CONFLICT_MESSAGES = (
    "all ports are allocated",
    "port is already allocated",
    "address already in use",
)
MAX_ERROR_LENGTH = 300
LOOKS, LOOK_PAUSE_SECONDS = 20, 0.15
"""For an object that is being made: some seconds in all."""


class EngineClient:
    """Where the engine is, and how it is asked.

    `url` is Docker's own (`unix://…`, `tcp://…`, `ssh://…`; empty: the usual socket), `timeout` in
    seconds for each call. DOCKER_TLS_VERIFY and DOCKER_CERT_PATH mean what they mean to Docker.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._clients: dict[tuple[int, int], APIClient] = {}
        self._lock = threading.Lock()

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, so that the kernel tells what it would."""
        return not self.url or self.url.startswith("unix://")

    def client(self, patience: int = 1) -> APIClient:
        """The client of this process, which waits `patience` times as long as usual.

        Made when first needed: a socket that is shared with a forked child mixes up the answers.
        """
        key = (os.getpid(), patience)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._connect(patience)
            return self._clients[key]

    def _connect(self, patience: int) -> APIClient:
        where = kwargs_from_env({**os.environ, "DOCKER_HOST": self.url})
        timeout: Any = self.timeout * patience
        return APIClient(timeout=timeout, max_pool_size=CONNECTION_POOL_SIZE, **where)

    @contextmanager
    def calling(
        self, to: str, *, hide: Collection[str] = (), patience: int = 1
    ) -> Iterator[APIClient]:
        """The client, for calls that are meant `to` do something; it completes “refused to …”.

        Raises our errors for all of the SDK's, without any of the words in `hide`.
        """
        try:
            yield self.client(patience)
        except ImageNotFound as error:
            raise ImageMissing(
                f"The engine has no such image: {error_message(error, hide)}. "
                "An operator builds it with `manage.py build_images`."
            ) from error
        except APIError as error:
            raise translate_error(error, to, hide) from error
        except (
            requests.RequestException,
            DockerException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise EngineUnreachable(
                f"The Docker engine did not answer when asked to {to} ({type(error).__name__})."
            ) from error


def translate_error(error: APIError, to: str, hide: Collection[str] = ()) -> RuntimeFailure:
    """What the engine's “no” means to us."""
    explanation = error_message(error, hide)
    if any(words in explanation for words in PORT_CONFLICT_MESSAGES):
        return CapacityExhausted(
            "All ports that sandboxes may use are taken; try again when one has ended."
        )
    return EngineRefused(f"The engine refused to {to}: {explanation}.")


def error_message(error: APIError, hide: Collection[str] = ()) -> str:
    """The engine's own explanation: one line of it, with nothing secret in it."""
    text = " ".join(str(error.explanation or error.status_code).split())
    for word in sorted(hide, key=len, reverse=True):
        text = text.replace(word, "•••") if word else text
    return text[:MAX_ERROR_LENGTH].rstrip(".")


def is_gone(error: APIError) -> bool:
    """Whether the object is not there (any more), or its removal is already under way."""
    return error.status_code == requests.codes.not_found or "already in progress" in error_message(
        error
    )


def wait_until_visible(look: Callable[[], Sequence[Result]]) -> Sequence[Result]:
    """What is found by a name that is taken. An object that the engine is still making, as after a
    call that it answered too late, is in none of its lists, and waited for."""
    found = look()
    for _ in range(LOOKS):
        if found:
            break
        time.sleep(LOOK_PAUSE_SECONDS)
        found = look()
    return found


def run_parallel(
    acts: Sequence[Callable[[], Result]], at_once: int = MAX_PARALLEL_CALLS
) -> list[Result]:
    """Do all of it side by side; when some fail, the rest is done all the same.

    Raises the first failure, in the order given.
    """
    if len(acts) <= 1:
        return [act() for act in acts]
    with ThreadPoolExecutor(min(at_once, len(acts)), "engine") as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]
