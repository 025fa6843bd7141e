"""Names of sandboxes, webhooks and tokens: what people write is accepted, in all scripts."""

from __future__ import annotations

import pytest

from sandboxes.lib.names import InvalidName, clean_name

FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
ENGLAND = "\N{WAVING BLACK FLAG}" + "".join(chr(0xE0000 + ord(c)) for c in "gbeng") + "\U000e007f"


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "Straße №5 “q”",
        "می\N{ZERO WIDTH NON-JOINER}شود",
        f"family {FAMILY}",
        ENGLAND,
        "\N{WHITE SMILING FACE}\N{VARIATION SELECTOR-16}",
        "हिन्दी",
        "שלום\N{RIGHT-TO-LEFT MARK}",
        "日本語",
        "x" * 60,
        "\N{GRINNING FACE}" * 60,
        "",
    ],
)
def test_names_of_all_scripts_and_emoji_are_kept(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a\ud800", "lone surrogates"),
        ("\udfff", "lone surrogates"),
        ("a\nb", "line breaks"),
        ("a\r", "line breaks"),
        ("a\u2028b", "line breaks"),
        ("a\u2029b", "line breaks"),
        ("a\x85b", "line breaks"),
        ("a\0b", "unprintable characters"),
        ("a\x1b[31mb", "unprintable characters"),
        ("a\x7f", "unprintable characters"),
        ("a\tb", "unprintable characters"),
        ("gnp.\u202eexe", "direction of text"),
        ("a\u2066b", "direction of text"),
        ("\u200d", "visible character"),
        ("\u200b\u2060\ufeff", "visible character"),
        ("\u3164", "visible character"),
        ("\u2800", "visible character"),
        ("\u0301", "visible character"),
        ("\N{VARIATION SELECTOR-16}", "visible character"),
        ("x" * 61, "at most 60 characters .it has 61"),
    ],
)
def test_other_names_are_refused_with_the_remedy(name: str, remedy: str) -> None:
    with pytest.raises(InvalidName, match=remedy):
        clean_name(name)


def test_names_are_normalized_and_stripped_before_they_are_measured() -> None:
    assert clean_name(" e\u0301 ") == "é"
    assert clean_name("e\u0301" * 60) == "é" * 60
    assert clean_name("  ") == ""
