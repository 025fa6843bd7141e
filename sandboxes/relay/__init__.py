"""The way from the portal's pages to the API inside a sandbox."""

from sandboxes.relay.describing import describe
from sandboxes.relay.sending import Answer, Ask, api_of, send

__all__ = ["Answer", "Ask", "api_of", "describe", "send"]
