"""Which pages there are, for whom, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import yaml
from django.conf import settings
from django.urls import reverse

ROOT = Path(settings.BASE_DIR)
FOLDER = ROOT / "docs"
START = "quickstart"
"""The page at `/docs/`."""
CHANGELOG = "changelog"


@dataclass(frozen=True)
class Page:
    """A page of the documentation; `name` is its place in URLs."""

    name: str
    file: Path
    for_operators: bool

    @property
    def url(self) -> str:
        """The path of the page."""
        if self.name == START:
            return reverse("docs")
        return reverse("docs-operators" if self.for_operators else "docs-page", args=[self.name])

    @cached_property
    def text(self) -> str:
        """The Markdown text. The files belong to the release, so they are read once."""
        return self.file.read_text()

    @property
    def title(self) -> str:
        """The first heading."""
        return self.text.partition("\n")[0].removeprefix("# ")


@dataclass(frozen=True)
class Section:
    """A group of pages in the navigation."""

    title: str
    pages: tuple[Page, ...]
    for_operators: bool


@cache
def _all_sections() -> tuple[Section, ...]:
    contents = yaml.safe_load((FOLDER / "contents.yaml").read_text())
    return tuple(
        Section(
            title,
            tuple(_page(name, audience == "operators") for name in names),
            audience == "operators",
        )
        for audience, groups in contents.items()
        for title, names in groups.items()
    )


def _page(name: str, for_operators: bool) -> Page:
    file = ROOT / "CHANGELOG.md" if name == CHANGELOG else FOLDER / f"{name}.md"
    return Page(name, file if file.exists() else FOLDER / name / "README.md", for_operators)


@cache
def _all_pages() -> dict[str, Page]:
    """Return all pages by name, those of folders included."""
    return {page.name: page for section in _all_sections() for page in _with_folder(section)}


def _with_folder(section: Section) -> Iterator[Page]:
    for page in section.pages:
        yield page
        if page.file.name == "README.md":
            folder = page.file.parent
            for file in sorted({*folder.glob("*.md"), *folder.glob("*/README.md")} - {page.file}):
                own = file.parent if file.name == "README.md" else file.with_suffix("")
                yield Page(str(own.relative_to(FOLDER)), file, page.for_operators)


def sections(*, for_operator: bool) -> list[Section]:
    """Return the navigation."""
    return [one for one in _all_sections() if for_operator or not one.for_operators]


def pages(*, for_operator: bool) -> list[Page]:
    """Return all pages that the reader may read."""
    return [page for page in _all_pages().values() if for_operator or not page.for_operators]


def find(name: str, *, for_operators: bool) -> Page | None:
    """Return the page of this name and audience."""
    page = _all_pages().get(name)
    return page if page and page.for_operators == for_operators else None


@cache
def by_file() -> dict[Path, Page]:
    """Return all pages by their files."""
    return {page.file: page for page in _all_pages().values()}
