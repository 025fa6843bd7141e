"""Decide about a request: deny it, answer it, or return the request that the engine gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from socket_proxy import answers
from socket_proxy.engine import Engine, EngineRequest
from socket_proxy.http1 import Answer, Request
from socket_proxy.objects import LookupFailed, Objects
from socket_proxy.operations import PLACEHOLDER, Call, Operation, operations
from socket_proxy.schema import RequestDenied, optional, parse_json, record, require
from socket_proxy.settings import Settings


class Policy:
    """The requests that one client of the proxy may send to the engine."""

    def __init__(
        self, settings: Settings, engine: Engine, allowed: Sequence[Operation] = ()
    ) -> None:
        """Allow these operations, by default those of the portal."""
        self.settings, self.engine = settings, engine
        self.objects = Objects(engine, settings)
        self.operations = allowed or operations(settings)

    def takes_upload(self, method: str, path: str) -> bool:
        """Return whether the body is forwarded while it arrives. Raises RequestDenied."""
        return any(
            operation.uploads and operation.match(method, self._without_version(path))
            for operation in self.operations
        )

    async def decide(self, request: Request) -> Answer | EngineRequest:
        """Raise RequestDenied, EngineFailure."""
        operation, reference = self._operation(request)
        parameters = {name: optional(check) for name, check in operation.query.items()}
        query = record(parameters)(request.query)
        call = Call(self.objects, query, self._body(operation, request))
        try:
            if operation.kind:
                call.found = await self.objects.find(operation.kind, reference)
            if operation.check:
                await operation.check(call)
        except LookupFailed as failed:
            return failed.answer
        if operation.describes:
            assert call.found
            return call.found.answer
        path = PLACEHOLDER.sub(call.found.id if call.found else "", operation.path)
        if operation.reduce and operation.reduces(call.query):
            answer = await self.engine.fetch(path, call.query)
            if answer.status != HTTPStatus.OK:
                return answer
            return Answer.json(200, answers.reduced(answer.content, operation.reduce, self.objects))
        return EngineRequest(operation.method, path, call.query, call.body, request.upload)

    def _operation(self, request: Request) -> tuple[Operation, str]:
        path = self._without_version(request.path)
        for operation in self.operations:
            if match := operation.match(request.method, path):
                return operation, match.groupdict().get("reference", "")
        raise RequestDenied("the operation isn't on the list of allowed ones")

    def _without_version(self, path: str) -> str:
        if version := re.match(r"/v([0-9.]+)(?=/)", path, re.ASCII):
            spoken = self.settings.api_version
            require(version[1] == spoken, f"use version {spoken} of the API, or none")
            path = path[version.end() :]
        return path

    def _body(self, operation: Operation, request: Request) -> object:
        if operation.body is None and operation.rebuild is None:
            require(not request.body, "this operation takes no body")
            return None
        require(request.body, "this operation needs a body")
        if operation.rebuild:
            return operation.rebuild(request.body)
        assert operation.body
        return operation.body(parse_json(request.body))
