"""Markdown pages as HTML under the portal's content security policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from urllib.parse import urlsplit

from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from sandboxes.documentation.contents import FOLDER, ROOT, Page, by_file
from sandboxes.documentation.headings import Anchors

OWN_SANDBOX = "<!-- own sandbox -->"
"""Begins and ends what the values of the reader's sandbox replace: a fence marked `own-sandbox`."""
OWN_SANDBOX_INFO = "own-sandbox"
README = ROOT / "README.md"
CONTENTS_LEVEL = "h2"


@dataclass(frozen=True)
class Heading:
    """A heading in the contents of a page."""

    title: str
    anchor: str


@dataclass(frozen=True)
class RenderedPage:
    """A page as HTML, with the headings of its sections."""

    html: str
    headings: tuple[Heading, ...]


@lru_cache(maxsize=64)
def render(page: Page, *, for_operator: bool) -> RenderedPage:
    """Return the page; links to pages that the reader can't read become text."""
    tokens = PARSER.parse(page.text)
    headings = _add_anchors(tokens)
    for token in tokens:
        if token.children:
            token.children = _with_own_links(token.children, page, for_operator)
        _move_style_to_class(token)
    return RenderedPage(PARSER.renderer.render(tokens, PARSER.options, {}), tuple(headings))


def _add_anchors(tokens: Sequence[Token]) -> list[Heading]:
    anchors, found = Anchors(), []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            anchor = anchors.add(_plain_text(inline))
            token.attrSet("id", anchor)
            if token.tag == CONTENTS_LEVEL:
                found.append(Heading(_plain_text(inline), anchor))
    return found


def _plain_text(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _with_own_links(children: Sequence[Token], page: Page, for_operator: bool) -> list[Token]:
    """Return the tokens with links and images of the repository turned into those of the portal."""
    kept: list[Token] = []
    is_dropped = False
    for child in children:
        if child.type == "link_open":
            target = _target(str(child.attrGet("href")), page, for_operator)
            is_dropped = target is None
            child.attrSet("href", target or "")
        elif child.type == "image":
            file = os.path.normpath(page.file.parent / str(child.attrGet("src")))
            child.attrs |= {
                "src": static(f"docs/{os.path.relpath(file, FOLDER)}"),
                "loading": "lazy",
            }
        if not (is_dropped and child.type in ("link_open", "link_close")):
            kept.append(child)
        if child.type == "link_close":
            is_dropped = False
    return kept


def _target(href: str, page: Page, for_operator: bool) -> str | None:
    """Return where a link leads in the portal; None if the reader has no such page."""
    parts = urlsplit(href)
    if parts.scheme or not parts.path:
        return href
    file = (page.file.parent / parts.path).resolve()
    if file == README:
        return reverse("docs")
    found = by_file().get(file)
    if found is None or (found.for_operators and not for_operator):
        return None
    return f"{found.url}#{parts.fragment}" if parts.fragment else found.url


def _move_style_to_class(token: Token) -> None:
    """Replace the alignment of a cell, an inline style that the policy blocks."""
    if style := token.attrs.pop("style", ""):
        token.attrSet("class", str(style).replace("text-align:", "align-"))


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    token = tokens[index]
    copy = render_to_string("sandboxes/_copy_button.html", {"value": token.content, "what": "code"})
    code = f'<pre tabindex="0"><code>{escapeHtml(token.content)}</code></pre>'
    html = f'<div class="docs-code">{code}{copy}</div>\n'
    if OWN_SANDBOX_INFO in token.info.split():
        return f"{OWN_SANDBOX}{html}{OWN_SANDBOX}"
    return html


def _table_open(*_: object) -> str:
    return '<div class="table-scroll" tabindex="0"><table>\n'


def _table_close(*_: object) -> str:
    return "</table></div>\n"


def _nothing(*_: object) -> str:
    return ""


RULES: dict[str, Callable[..., str]] = {
    "fence": _fence,
    "code_block": _fence,
    "table_open": _table_open,
    "table_close": _table_close,
    # Comments for authors; the documentation has no other HTML.
    "html_block": _nothing,
    "html_inline": _nothing,
}
PARSER = MarkdownIt("commonmark").enable("table")
for _token_type, _rule in RULES.items():
    PARSER.add_render_rule(_token_type, _rule)
