"""The documentation in `docs/`, as pages of the portal.

It is part of the installation, so that a portal documents its own version.
"""

from sandboxes.documentation.contents import Page, find, sections
from sandboxes.documentation.rendering import RenderedPage, render
from sandboxes.documentation.search import Hit, search

__all__ = ["Hit", "Page", "RenderedPage", "find", "render", "search", "sections"]
