"""Variables of Compose files: operators, nesting, `.env` files, and values of each sandbox."""

from __future__ import annotations

import time

import pytest

from sandboxes.blueprints.compose.budget import TooLarge
from sandboxes.blueprints.compose.findings import Malformed
from sandboxes.blueprints.compose.reading.env_files import InvalidEnvFile, read_env_file
from sandboxes.blueprints.compose.reading.variables import Variables, finish, substitute

VARIABLES = Variables({"A": "a", "EMPTY": "", "DOLLAR": "5 $"}, frozenset({"KEY"}))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("$A-${A}", "a-a"),
        ("$A_B", ""),
        ("${NONE:-d}", "d"),
        ("${EMPTY:-d}|${EMPTY-d}", "d|"),
        ("${A:+yes}|${EMPTY:+yes}|${EMPTY+yes}|${NONE+yes}", "yes||yes|"),
        ("${A:?m}|${EMPTY?m}", "a|"),
        ("${NONE:-${EMPTY:-${A}}}", "a"),
        ("${NONE:-http://x:${A}/$A}", "http://x:a/a"),
        ("${A:-}}", "a}"),
        ("$$A $${A}", "$$A $${A}"),
        ("$DOLLAR", "5 $$"),
        ("${KEY}${KEY:-x}${KEY:+set}", "${KEY}${KEY}set"),
        ("é${A}é", "éaé"),
    ],
)
def test_variables_are_replaced_as_in_compose(text: str, filled: str) -> None:
    assert substitute(text, VARIABLES) == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE:?tell me}", "NONE is not set: tell me"),
        ("${EMPTY:?}", "EMPTY is not set"),
        ("${NONE?}", "NONE is not set"),
        ("a $ b", "not followed by a variable"),
        ("${}", "not followed by a variable"),
        ("${A", "close it with a brace|doesn't know"),
        ("${A/b/c}", "doesn't know"),
        ("${NONE:-${A}", "doesn't know"),
        ("${N:-" * 20 + "}" * 20, "levels deep"),
    ],
)
def test_what_compose_refuses_is_refused(text: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        substitute(text, VARIABLES)


def test_unset_variables_are_reported_unless_there_is_a_default() -> None:
    unset: list[str] = []
    variables = Variables({"A": "a"}, report_unset=unset.append)
    substitute("$X ${Y:-d} ${A:-$Z} ${W:+$V} ${Q:-$P}", variables)
    assert unset == ["X", "P"]


def test_a_value_of_each_sandbox_is_refused_where_it_must_be_known() -> None:
    assert finish(substitute("$A $$B", VARIABLES)) == "a $B"
    with pytest.raises(Malformed, match="KEY differs between sandboxes"):
        finish(substitute("app-$KEY", VARIABLES))


def test_long_texts_take_linear_time() -> None:
    started = time.process_time()
    substitute("$A" * 30_000, Variables({"A": "a"}))
    with pytest.raises(TooLarge):
        substitute("${NONE:-" + "$A " * 80_000, Variables({"A": "a"}))
    assert time.process_time() - started < 1


ENV_FILE = """
# comment
PLAIN=1 # comment
export QUOTED="two words $A ${KEY}"
LITERAL='$A'
EARLIER=$PLAIN-${NONE:-d}
DOLLAR=pa$ss$
NAME_ONLY
A
MULTI="one
two"
"""


def test_files_of_variables_are_read_as_in_compose() -> None:
    assert read_env_file(ENV_FILE, VARIABLES) == {
        "PLAIN": "1",
        "QUOTED": "two words a ${KEY}",
        "LITERAL": "$$A",
        "EARLIER": "1-d",
        "DOLLAR": "pa$$",
        "A": "a",
        "MULTI": "one\ntwo",
    }
    assert read_env_file("A='x' # y\n#c\n\nB=$A", VARIABLES, raw=True) == {
        "A": "'x' # y",
        "B": "$$A",
    }


def test_a_malformed_line_is_named() -> None:
    with pytest.raises(InvalidEnvFile) as caught:
        read_env_file("A=1\nB=2\n=3\n", VARIABLES)
    assert caught.value.line == 3


def test_the_environment_of_the_portal_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "secret")
    assert substitute("${LEAK:-no}$LEAK", VARIABLES) == "no"
    assert read_env_file("A=$LEAK\nLEAK", VARIABLES) == {"A": ""}
