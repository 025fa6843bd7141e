"""Search in the sections of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from sandboxes.documentation.contents import Page, pages
from sandboxes.documentation.headings import Anchors

MAX_HITS = 20
MAX_TERMS = 8
EXCERPT_LENGTH = 180
IN_HEADING, IN_TITLE = 10, 5
"""What a term in the heading of the section or in the title of the page adds to its rank."""
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
MARKUP = re.compile(r"<!--.*?-->|[`*|]+|^#+ |^-+\s*$", re.MULTILINE)


@dataclass(frozen=True)
class PageSection:
    """The text below one heading of a page, without markup."""

    page: Page
    heading: str
    anchor: str
    text: str

    @property
    def url(self) -> str:
        """The path of the page, with the anchor of the heading."""
        return f"{self.page.url}#{self.anchor}"


@dataclass(frozen=True)
class Hit:
    """A section that was found, with the part of its text around the first term."""

    section: PageSection
    excerpt: str


def search(query: str, *, for_operator: bool) -> list[Hit]:
    """Return the sections that contain all words of the query, best first."""
    terms = query.lower().split()[:MAX_TERMS]
    if not terms:
        return []
    ranked = [
        (rank, section)
        for page in pages(for_operator=for_operator)
        for section in _page_sections(page)
        if (rank := _rank(section, terms))
    ]
    ranked.sort(key=lambda found: -found[0])
    return [Hit(section, _excerpt(section.text, terms)) for _, section in ranked[:MAX_HITS]]


def _rank(section: PageSection, terms: list[str]) -> int:
    heading, title, text = section.heading.lower(), section.page.title.lower(), section.text.lower()
    rank = 0
    for term in terms:
        found = IN_HEADING * (term in heading) + IN_TITLE * (term in title) + text.count(term)
        if not found:
            return 0
        rank += found
    return rank


def _excerpt(text: str, terms: list[str]) -> str:
    lower = text.lower()
    first = min((at for term in terms if (at := lower.find(term)) >= 0), default=0)
    start = max(0, first - EXCERPT_LENGTH // 3)
    start = text.rfind(" ", 0, start) + 1 if start else 0
    end = text.find(" ", start + EXCERPT_LENGTH)
    end = len(text) if end < 0 else end
    return ("… " if start else "") + text[start:end] + (" …" if end < len(text) else "")


@cache
def _page_sections(page: Page) -> tuple[PageSection, ...]:
    return tuple(_split(page))


def _split(page: Page) -> Iterator[PageSection]:
    anchors, is_code = Anchors(), False
    heading, anchor, lines = page.title, "", list[str]()
    for line in page.text.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("#") and not is_code:
            if anchor:
                yield PageSection(page, heading, anchor, _plain("\n".join(lines)))
            heading, lines = _plain(line), []
            anchor = anchors.add(heading)
        else:
            lines.append(line)
    yield PageSection(page, heading, anchor, _plain("\n".join(lines)))


def _plain(text: str) -> str:
    return " ".join(MARKUP.sub(" ", LINK.sub(r"\1", text)).split())
