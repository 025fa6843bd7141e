"""Find archaic or vague wording in code, templates, and documentation; part of `make lint`.

Lists the places and exits with 1 if a comment, text, or name contains one of DENIED_WORDS. Add a
word there if plain technical English has a better one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTORIES = ("deploy", "docs", "sandboxes", "sandboxportal", "static", "templates", "tests")
SUFFIXES = {
    *(".conf", ".css", ".html", ".js", ".md", ".py", ".service", ".sh", ".socket", ".sql", ".toml"),
    *(".txt", ".yaml", ".yml"),
}
FILE_NAMES = {"Dockerfile", "Makefile", "Procfile", "crontab"}
EXCLUDED = re.compile(
    r"deploy/check_prose\.py"
    r"|(.*/)?test_check_prose\.py"
    r"|sandboxes/migrations/.*"  # Applied migrations don't change.
    r"|(.*/)?requirements(-dev)?\.txt"
)

DENIED_WORDS = {
    r"anew": "“again”, or a verb such as “recreate”",
    r"whoever": "the person, such as “the user who”",
    r"whatever": "“any”, or the thing itself",
    r"likewise": "“also” or “the same”",
    r"to be had": "“available”",
    r"by (?:itself|themselves)": "“automatically” or “on its own”",
    r"so (?:many|long)(?! that\b)": "the number or the duration, or “as long as”",
    r"told of": "“notified of” or “reported”",
    r"bears?": "“has” or “contains”",
    r"mend(?:s|ed|ing)?": "“fix”",
    r"ordeals?": "“experiment”",
    r"clothes": "“configuration”",
    # Not the Unix user `nobody`.
    r"nobody(?![`\"':])": "the role, such as “no user”, or the passive voice",
    r"somebody": "the role, such as “another user” or “an operator”",
    r"(?<!\bthere )(?:is|are|was|were) no (?!longer\b|more\b|less\b|other\b)[a-z]+": "“isn't a …”",
}
DENIED = [(re.compile(rf"\b{words}\b", re.IGNORECASE), use) for words, use in DENIED_WORDS.items()]


def find_denied_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, the words, and the remedy of each violation."""
    # A phrase may continue on the next line of a comment, and a name is read as words.
    lines = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", "\n", text.replace("_", " "))
    phrases = lines.replace("\n", " ")
    for pattern, use in DENIED:
        for match in pattern.finditer(phrases):
            yield 1 + lines.count("\n", 0, match.start()), match[0], use


def checked_files() -> Iterator[Path]:
    files = [path for path in ROOT.iterdir() if path.is_file()]
    for directory in DIRECTORIES:
        files += (ROOT / directory).rglob("*")
    for path in sorted(files):
        name = path.relative_to(ROOT).as_posix()
        has_prose = path.suffix in SUFFIXES or path.name in FILE_NAMES
        if has_prose and not EXCLUDED.fullmatch(name):
            yield path


def main() -> int:
    violations = [
        f"{path.relative_to(ROOT)}:{line}: “{words}”: write {use}."
        for path in checked_files()
        for line, words, use in find_denied_words(path.read_text())
    ]
    for violation in violations:
        print(violation, file=sys.stderr)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
