"""Downloads for other tools. Those that contain credentials are recorded in the journal."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from sandboxes import actions, explorer
from sandboxes.explorer import postman
from sandboxes.lib.exceptions import ServiceError
from sandboxes.lib.untrusted_json import dumps_pretty
from sandboxes.models import Sandbox
from sandboxes.views.helpers import Request, get_owned_sandbox, login_required_page
from sandboxes.views.sandbox_card import Card
from sandboxes.views.snippets import env_file_text, explorer_access

JSON = "application/json"


def _download(
    request: Request, public_id: str, end: str, media_type: str, make: Callable[[Sandbox], str]
) -> HttpResponse:
    """Return the file, or redirect to the sandbox's page with the error."""
    sandbox = get_owned_sandbox(request, public_id)
    try:
        content = make(sandbox)
    except ServiceError as error:
        messages.error(request, str(error), extra_tags=public_id)
        return redirect("sandbox", public_id)
    disposition = f'attachment; filename="{sandbox.public_id}{end}"'
    headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
    return HttpResponse(content, content_type=media_type, headers=headers)


@login_required_page
@require_POST
def env_file(request: Request, public_id: str) -> HttpResponse:
    def make(sandbox: Sandbox) -> str:
        keys = actions.read_credentials(sandbox, request.user)
        return env_file_text(Card(sandbox), keys) + "\n"

    return _download(request, public_id, ".env", "text/plain; charset=utf-8", make)


@login_required_page
@require_POST
def collection(request: Request, public_id: str) -> HttpResponse:
    def make(sandbox: Sandbox) -> str:
        with explorer.page_limit.slot(sandbox.owner_id):
            description = explorer.fetch_openapi(sandbox)
            keys = actions.read_credentials(sandbox, request.user)
            access = explorer_access(Card(sandbox), keys)
            name = f"{description.title}: {sandbox}"
            collection_data = postman.build_collection(
                description, name, access.address, access.auth, access.secret
            )
            return dumps_pretty(collection_data)

    return _download(request, public_id, ".postman_collection.json", JSON, make)


@login_required_page
@require_GET
def specification(request: Request, public_id: str) -> HttpResponse:
    """Download the API's OpenAPI document with the sandbox's URL; it contains no key."""

    def make(sandbox: Sandbox) -> str:
        with explorer.page_limit.slot(sandbox.owner_id):
            description = explorer.fetch_openapi(sandbox)
            address = explorer.api_base_url(sandbox)
            return dumps_pretty(postman.with_server(description, address))

    return _download(request, public_id, ".openapi.json", JSON, make)
