"""What people read in the pages goes through gettext: no text of a template stands bare."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "templates"
PAGES = sorted(
    path for path in TEMPLATES.rglob("*.html") if "admin" not in path.relative_to(TEMPLATES).parts
)
NOT_YET: set[str] = set()
"""They still hold bare texts. Whoever marks those takes the line away; nobody adds one."""

READ = {"aria-label", "aria-description", "alt", "title", "placeholder"}
"""Attributes that people read or hear."""
AS_IT_IS = {"script", "style", "svg", "code", "pre", "kbd", "samp"}
VOID = {"meta", "link", "input", "br", "hr", "img", "path", "rect"}
NAMES = {"checkout-tests", "ci-pipeline", "curl", "JSON", "ms"}
"""What is called the same in every language."""

NOT_BARE = re.compile(
    r"{%\s*comment\b.*?%}.*?{%\s*endcomment\s*%}"
    r"|{%\s*(?:blocktrans\w*)\b.*?%}.*?{%\s*endblocktrans\w*\s*%}"
    r"|{%\s*trans(?:late)?\b.*?%}|{#.*?#}|_\(\".*?\"\)"
    r"|{%\s*lucide\b.*?%}|{%\s*block \w+_class\s*%}.*?{%\s*endblock\b.*?%}",
    re.DOTALL,
)
TAGS = re.compile(r"{%.*?%}|{{.*?}}", re.DOTALL)
CHOSEN = re.compile(r"(</?){%.*?%}", re.DOTALL)
"""The name of an element that an {% if %} decides."""
LITERALS = re.compile(r"\"([^\"]*)\"")


class Texts(HTMLParser):
    """Collects what people read of the HTML; what is marked `translate="no"` is nobody's words."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append((tag, tag in AS_IT_IS or ("translate", "no") in attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in READ]
        if ("name", "description") in attrs:
            self.found.append(dict(attrs).get("content") or "")

    def handle_endtag(self, tag: str) -> None:
        # Where tags are chosen by an {% if %}, more may be opened than closed.
        starts = [number for number, (name, _) in enumerate(self.open) if name == tag]
        if starts:
            del self.open[starts[-1] :]

    def handle_data(self, data: str) -> None:
        if not any(silent for _, silent in self.open):
            self.found.append(data)


def bare_texts(source: str) -> list[str]:
    """The words of a template that no translator would see, in its HTML and in its tags."""
    left = CHOSEN.sub(r"\1x", NOT_BARE.sub(" ", source))
    texts = Texts()
    texts.feed(TAGS.sub(" ", left))
    literals = [text for tag in TAGS.findall(left) for text in LITERALS.findall(tag)]
    phrases = [text for text in literals if " " in text]
    found = [" ".join(text.split()) for text in (*texts.found, *phrases)]
    return [text for text in found if re.search(r"[^\W\d_]{2}", text) and text not in NAMES]


def name_of(path: Path) -> str:
    return str(path.relative_to(TEMPLATES))


@pytest.mark.parametrize("template", PAGES, ids=name_of)
def test_no_text_of_a_page_stands_bare(template: Path) -> None:
    found = bare_texts(template.read_text())
    if name_of(template) in NOT_YET:
        assert found, "it is done: take it off the list"
    else:
        assert found == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>Hello there</p>", ["Hello there"]),
        ('<p title="Say it">{{ name }}</p>', ["Say it"]),
        ('{% include "a.html" with what="the whole key" %}', ["the whole key"]),
        ('{{ error|default:"It is asked." }}', ["It is asked."]),
        ('<p>{% translate "Hello there" %} {# a note #}</p>', []),
        ("<p>{% blocktranslate trimmed %}Hi {{ name }}{% endblocktranslate %}</p>", []),
        ('<p translate="no">curl</p><svg><title>x y</title></svg> 3 · 4', []),
        ('{% if a %}<a href="b">{% else %}<i>{% endif %}Go on</a>', ["Go on"]),
    ],
)
def test_the_check_sees_what_people_read(source: str, found: list[str]) -> None:
    assert bare_texts(source) == found


@pytest.mark.gettext
def test_a_new_language_starts_with_one_command(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LOCALE_PATHS = [tmp_path]
    monkeypatch.chdir(ROOT)
    call_command("makemessages", locale=["de"], ignore_patterns=["tests", "var"], verbosity=0)
    catalogue = (tmp_path / "de" / "LC_MESSAGES" / "django.po").read_text()
    for text in (
        "Provision sandbox",
        "What has ended is in the history.",
        "You can have one more.",
    ):
        assert f'msgid "{text}"' in catalogue
    call_command("compilemessages", locale=["de"], verbosity=0)


def test_the_pages_speak_the_language_that_is_set(client: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    response = client.get("/nothing-here")
    assert '<html lang="de">' in response.content.decode()
