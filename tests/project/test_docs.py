"""The documentation matches the code, and its pages render and link correctly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from sandboxes.models.runtime_settings import RUNTIME_SETTINGS
from sandboxportal.settings import RENAMED_VARIABLES
from tests.project.layers import LAYERS

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
SETTINGS, _, RENAMED = CONFIGURATION.partition("## Renamed settings")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
SCREENSHOTS = ROOT / "docs" / "screenshots"
MAX_README_LINES = 150
MAX_SCREENSHOTS = 12

each_page = pytest.mark.parametrize("doc", PAGES, ids=lambda doc: str(doc.relative_to(ROOT)))


def test_configuration_lists_every_setting_and_no_other() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "sandboxportal").glob("*.py"))
    documented = re.findall(r"^\| `([A-Z_]+)`(?: ✎)? \|", SETTINGS, re.MULTILINE)
    assert sorted(documented) == sorted(set(re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", source)))


def test_configuration_marks_the_settings_that_the_admin_can_change() -> None:
    marked = re.findall(r"^\| `([A-Z_]+)` ✎ \|", SETTINGS, re.MULTILINE)
    assert sorted(marked) == sorted(RUNTIME_SETTINGS)


def test_configuration_lists_renamed_settings_with_their_new_names() -> None:
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|$", RENAMED, re.MULTILINE))
    assert listed == RENAMED_VARIABLES


def test_the_index_of_decisions_lists_every_record_with_its_title() -> None:
    records = list((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = {path.name: re.match(r"# (\d+)\. (.+)", path.read_text()) for path in records}
    index = TEXTS["docs/decisions/README.md"]
    rows = [f"| {title[1]} | [{title[2]}]({name}) |" for name, title in titles.items() if title]
    assert len(rows) == len(records)
    assert [row for row in rows if row not in index] == []


def test_each_decision_has_a_number_of_its_own_and_the_index_is_in_their_order() -> None:
    index = TEXTS["docs/decisions/README.md"]
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", index, re.MULTILINE)]
    assert numbers == sorted(set(numbers))


def anchors(doc: Path) -> set[str]:
    """Return the anchors that GitHub generates for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", doc.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@each_page
def test_links_to_files_and_headings_resolve(doc: Path) -> None:
    text = re.sub(r"^```.*?^```", "", doc.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    broken = []
    for link in (markdown or html for markdown, html in links):
        path, _, anchor = link.partition("#")
        target = doc.parent / path if path else doc
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def rendered(doc: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(doc.read_text())


@each_page
def test_tables_render_as_tables(doc: Path) -> None:
    """Find table rows that a blank line or a missing header turns into text."""
    tokens = rendered(doc)
    stray = [t.content for t in tokens if t.type == "inline" and t.content.startswith("|")]
    assert stray == []


@each_page
def test_every_row_has_as_many_cells_as_its_header(doc: Path) -> None:
    lines = doc.read_text().splitlines()
    uneven = []
    for table in (t.map for t in rendered(doc) if t.type == "table_open" and t.map):
        rows = lines[slice(*table)]
        cells = {row: len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        uneven += [row for row in rows if cells[row] != cells[rows[0]]]
    assert uneven == []


@each_page
def test_source_files_named_in_the_docs_exist(doc: Path) -> None:
    if doc.name == "CHANGELOG.md":  # It also names files that no longer exist.
        return
    tops = "deploy|docs|fixtures|sandboxes|sandboxportal|static|templates|tests"
    named = re.findall(rf"`((?:{tops})/[\w./@-]+)`", doc.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_architecture_page_lists_the_layers_of_the_packages() -> None:
    [block] = re.findall(r"```text\n(.*?)```", TEXTS["docs/architecture.md"], re.DOTALL)
    assert [set(line.split(", ")) for line in block.splitlines()] == LAYERS


def test_make_targets_in_the_docs_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    mentioned = {name for text in TEXTS.values() for name in re.findall(r"`make ([\w-]+)", text)}
    assert mentioned - targets == set()


def test_every_management_command_is_documented() -> None:
    commands = (ROOT / "sandboxes" / "management" / "commands").glob("[a-z]*.py")
    text = "\n".join(TEXTS.values())
    assert [path.stem for path in commands if path.stem not in text] == []


def test_the_readme_stays_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) < MAX_README_LINES


def test_every_screenshot_in_the_repository_is_used_and_there_are_few() -> None:
    kept = {path.name for path in SCREENSHOTS.iterdir()}
    used = {name for text in TEXTS.values() for name in re.findall(r"screenshots/([\w.-]+)", text)}
    assert kept == used
    assert len(kept) <= MAX_SCREENSHOTS
