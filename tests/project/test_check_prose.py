"""The check for archaic or vague wording that `make lint` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy"))
import check_prose


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("Load the page anew.", 1, "anew"),
        ("# It takes so\n# long.", 1, "so long"),
        ("first\n\nsecond\n    # Nobody reads it.", 4, "Nobody"),
        ("def test_whoever_asks(): ...", 1, "whoever"),
        ("This is no address.", 1, "is no address"),
        ("<p>It ends by\n  itself.</p>", 1, "by itself"),
    ],
)
def test_denied_words_are_found_with_their_line(text: str, line: int, words: str) -> None:
    ((found_line, found_words, _),) = check_prose.find_denied_words(text)
    assert (found_line, found_words) == (line, words)


@pytest.mark.parametrize(
    "text",
    [
        "There is no such sandbox.",
        "It is no longer running.",
        "The header has a Bearer token.",
        "Amend and recommend it.",
        "So many that the limit applies.",
    ],
)
def test_plain_wording_passes(text: str) -> None:
    assert list(check_prose.find_denied_words(text)) == []


def test_violations_are_listed_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Title\n\nMend it.\n")
    monkeypatch.setattr(check_prose, "ROOT", tmp_path)

    assert check_prose.main() == 1
    assert capsys.readouterr().err == "docs/page.md:3: “Mend”: write “fix”.\n"

    (tmp_path / "docs" / "page.md").write_text("# Title\n\nFix it.\n")
    assert check_prose.main() == 0
