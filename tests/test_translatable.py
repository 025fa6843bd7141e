"""What people read in the pages goes through gettext: no text of a template or view stands bare.

The console of operators, the journal and what the API says to programs are English.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from subprocess import run
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.translation import trans_real

from sandboxes import actions
from tests.acting import committed, launch
from tests.programs import Program

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from sandboxes.runtime.memory import MemoryRuntime

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


MARKS = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext"}
REFUSALS = {"Conflict", "Invalid", "KeyReused", "Unavailable", "Unreadable"}
PHRASE = re.compile(r"[A-Za-z]{2} [a-z]")
PORTAL = ROOT / "sandboxes"
FOR_OPERATORS = {"admin", "doctor", "management", "operations.py"}
CODE = sorted(
    path
    for path in PORTAL.rglob("*.py")
    if path.relative_to(PORTAL).parts[0] not in FOR_OPERATORS | {"migrations"}
)
SHOWN = [path for path in CODE if {"views", "templatetags"} & {*path.parts}]
SHOWN += [PORTAL / name for name in ("forms.py", "presentation.py", "rescues.py")]


def bare(*nodes: ast.AST) -> list[str]:
    """Phrases in code that no translator would see; not what is code itself, nor docstrings."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_code = re.search(r"[<\n=]", node.value)
            found += [node.value] if PHRASE.search(node.value) and not is_code else []
        found += bare(*ast.iter_child_nodes(node))
    return found


def is_refusal(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS


def labels(node: ast.AST) -> list[ast.expr]:
    """The labels of choices, where the node is a class of such."""
    if not isinstance(node, ast.ClassDef) or "models.TextChoices" not in map(
        ast.unparse, node.bases
    ):
        return []
    values = [line.value for line in node.body if isinstance(line, ast.Assign)]
    return [value.elts[1] for value in values if isinstance(value, ast.Tuple)]


def code_of(path: Path) -> str:
    return str(path.relative_to(PORTAL))


@pytest.mark.parametrize("module", CODE, ids=code_of)
def test_no_refusal_and_no_label_stands_bare(module: Path) -> None:
    nodes = list(ast.walk(ast.parse(module.read_text())))
    assert bare(*filter(is_refusal, nodes)) == []
    assert bare(*(label for node in nodes for label in labels(node))) == []


@pytest.mark.parametrize("module", SHOWN, ids=code_of)
def test_no_phrase_of_a_view_stands_bare(module: Path) -> None:
    assert bare(ast.parse(module.read_text())) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise Conflict('It is over.')", ["It is over."]),
        ("Invalid('name', f'Use {n} at most.')", [" at most."]),
        ("raise Conflict(_('It is over.'))", []),
        ("Unavailable(_('In %(n)s steps or so.') % {'n': n})", []),
    ],
)
def test_the_check_sees_what_is_refused(source: str, found: list[str]) -> None:
    assert bare(*filter(is_refusal, ast.walk(ast.parse(source)))) == found


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


@pytest.mark.gettext
def test_pages_speak_another_language_and_the_api_english(
    web: Client, alice: User, runtime: MemoryRuntime, tmp_path: Path, settings: Any
) -> None:
    translated = {
        "Only a running sandbox can be kept alive; this one is %(state)s.": "Nur was läuft.",
        "destroyed by its owner": "von dir beendet",
    }
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    entries = (f'msgid "{text}"\nmsgstr "{own}"\n' for text, own in translated.items())
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
    (folder / "django.po").write_text("\n".join([header, *entries]))
    run(["msgfmt", "-o", folder / "django.mo", folder / "django.po"], check=True)
    settings.LOCALE_PATHS = [tmp_path]
    sandbox = launch(alice)
    with committed():
        actions.destroy(sandbox, alice)
    with spoken("de", settings):
        touch = web.post(reverse("touch", args=[sandbox.public_id]), follow=True)
        page = web.get(reverse("sandbox", args=[sandbox.public_id]))
        answer = Program(alice).post(f"/sandboxes/{sandbox.public_id}/touch")
    assert "Nur was läuft." in touch.content.decode()
    assert "Von dir beendet" in page.content.decode()
    assert answer.json()["detail"].startswith("Only a running sandbox can be kept alive")
    assert "It was destroyed by its owner." in page.content.decode(), "the journal is English"


@contextmanager
def spoken(language: str, settings: Any) -> Iterator[None]:
    """Catalogues are read once for each process."""
    settings.LANGUAGE_CODE = language
    forget_catalogues()
    translation.activate(language)
    try:
        yield
    finally:
        translation.deactivate()
        forget_catalogues()


def forget_catalogues() -> None:
    trans_real._translations = {}
    trans_real._default = None


def test_the_pages_speak_the_language_that_is_set(client: Client, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    response = client.get("/nothing-here")
    assert '<html lang="de">' in response.content.decode()
