"""The documentation says what is there, and all of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def settings_that_are_read() -> set[str]:
    source = "\n".join(path.read_text() for path in (ROOT / "sandboxportal").glob("*.py"))
    return set(re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", source))


def settings_in_the_table() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))


def test_every_setting_has_a_line_in_the_readme_and_no_line_is_stale() -> None:
    assert settings_in_the_table() == settings_that_are_read()


def dead_links(page: Path) -> list[str]:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    return [f"{page.name}: {target}" for target in targets if not (page.parent / target).exists()]


def test_every_link_between_the_pages_leads_somewhere() -> None:
    assert [link for page in PAGES for link in dead_links(page)] == []


def test_every_make_target_that_is_mentioned_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    mentioned = {name for page in PAGES for name in re.findall(r"`make (\w+)", page.read_text())}
    missing = {name for name in mentioned if not re.search(rf"^{name}:", makefile, re.MULTILINE)}
    assert missing == set()


def test_every_command_of_ours_is_mentioned() -> None:
    commands = (ROOT / "sandboxes" / "management" / "commands").glob("[a-z]*.py")
    text = "\n".join(page.read_text() for page in PAGES)
    assert [path.stem for path in commands if path.stem not in text] == []
