"""Parameters in a blueprint's file, and the values that they take."""

from __future__ import annotations

import time

import pytest

from sandboxes.blueprints import document
from sandboxes.blueprints.loader import load_blueprint
from sandboxes.blueprints.parameters import InvalidValue, Parameter, ParameterType
from tests.helpers.blueprints import CPUS, MEMORY_MB, problems_of, tiny, write

SIZE = Parameter(ParameterType.ENUM, "small", "Size", values=("small", "large"))
WORKERS = Parameter(ParameterType.INTEGER, 2, "Workers", minimum=1, maximum=8)
DEBUG = Parameter(ParameterType.BOOLEAN, default=False, title="Debug")
REGION = Parameter(ParameterType.STRING, "eu", "Region", pattern="[a-z]{2}|any", max_length=3)


def test_parameters_become_variables_of_services(tmp_path):
    blueprint = load_with(
        tmp_path,
        {
            "size": {"type": "enum", "values": ["small", 15], "default": "15"},
            "workers": {"type": "integer", "default": 2, "title": "Number of workers"},
            "debug": {"type": "boolean", "default": False, "help": "Log\nmore."},
        },
        {"SIZE": "${size}", "WORKERS": "${workers:-1}", "DEBUG": "$debug"},
    )
    stored = document.load(document.dump(blueprint))

    for each in (blueprint, stored):
        chosen = each.spec("sbx_1", {"workers": "7", "TOKEN": "t", "PASSWORD": "p"}, disk_mb=1)
        environment = chosen.services[0].environment
        assert environment == {"SIZE": "15", "WORKERS": "7", "DEBUG": "false"}
        assert each.parameters["debug"].default is False
        assert [(one.title, one.help) for one in each.parameters.values()] == [
            ("Size", ""),
            ("Number of workers", ""),
            ("Debug", "Log more."),
        ]


def load_with(folder, parameters, environment):
    content = tiny()
    content["services"]["web"]["environment"] = environment
    content["x-sandbox"]["parameters"] = parameters
    blueprint, problems = load_blueprint(write(folder, content).parent, MEMORY_MB, CPUS)
    assert blueprint, problems
    return blueprint


@pytest.mark.parametrize(
    ("definition", "key", "says"),
    [
        ({"type": "enum", "default": "a"}, "values", "needs the values"),
        ({"type": "enum", "values": ["a", "a"], "default": "a"}, "values", "listed twice"),
        ({"type": "enum", "values": ["a"], "default": "b"}, "default", "its own default"),
        ({"type": "boolean", "default": "yes"}, "default", "its own default"),
        ({"type": "boolean"}, "default", "missing"),
        ({"type": "boolean", "default": True, "pattern": "x"}, "pattern", "doesn't have this key"),
        ({"type": "integer", "default": 9, "maximum": 8}, "default", "its own default"),
        ({"type": "integer", "default": 9, "minimum": 9, "maximum": 8}, "minimum", "above"),
        ({"type": "integer", "default": 1.5}, "default", ""),
        ({"type": "number", "default": 1}, "type", "Unknown type"),
        ({"type": "string", "default": "ab", "max_length": 1}, "default", "its own default"),
        ({"type": "string", "default": "", "pattern": "("}, "pattern", "unclosed group"),
        ({"type": "string", "default": "", "pattern": "a)|(b"}, "pattern", "unopened group"),
        ({"type": "string", "default": "a", "pattern": r"(a)\1"}, "pattern", "backreferences"),
        ({"type": "string", "default": "a", "pattern": "(?=a)a"}, "pattern", "look-around"),
        ({"type": "string", "default": "", "pattern": "a" * 201}, "pattern", "200 characters"),
        ({"type": "string", "default": "", "pattern": r"(\w{999}){99}"}, "pattern", "size limit"),
    ],
)
def test_an_invalid_parameter_is_a_problem_with_line_and_key(tmp_path, definition, key, says):
    content = tiny()
    content["x-sandbox"]["parameters"] = {"choice": definition}
    [problem] = problems_of(tmp_path, content)

    assert problem.key.startswith(f"x-sandbox.parameters.choice.{key}")
    assert problem.line > 0
    assert says in problem.message
    assert problem.remedy


def test_patterns_that_are_large_together_are_a_problem_before_any_is_compiled(tmp_path):
    content = tiny()
    content["x-sandbox"]["parameters"] = {
        f"p{number}": {"type": "string", "pattern": rf"(?P<a>\w{{180}}){number}", "default": ""}
        for number in range(20)
    }
    start = time.process_time()
    [problem] = problems_of(tmp_path, content)

    assert time.process_time() - start < 1
    assert problem.key == "x-sandbox.parameters"
    assert problem.line > 0
    assert "too large together" in problem.message
    assert "[A-Za-z0-9_]" in problem.remedy


@pytest.mark.parametrize("name", ["TOKEN", "SANDBOX_ID", "REGION", "two words", "ä", "a" * 41])
def test_the_name_of_a_parameter_is_a_free_variable(tmp_path, name):
    content = tiny()
    content["x-sandbox"]["variables"] = {"REGION": "eu"}
    content["x-sandbox"]["parameters"] = {name: {"type": "boolean", "default": True}}

    assert [one.key for one in problems_of(tmp_path, content)] == [f"x-sandbox.parameters.{name}"]


@pytest.mark.parametrize(
    ("parameter", "value", "says"),
    [
        (SIZE, "huge", "small, large"),
        (SIZE, None, "small, large"),
        (WORKERS, 9, "from 1 to 8"),
        (WORKERS, "2", "integer"),
        (WORKERS, 2.0, "integer"),
        (WORKERS, True, "integer"),
        (DEBUG, "true", "true or false"),
        (DEBUG, 1, "true or false"),
        (REGION, 5, "string"),
        (REGION, "euro", "at most 3"),
        (REGION, "e\n", "line breaks"),
        (REGION, "EU", "[a-z]{2}|any"),
        (REGION, "eux", "[a-z]{2}|any"),
    ],
)
def test_a_value_that_a_parameter_does_not_take_is_refused_with_the_remedy(parameter, value, says):
    with pytest.raises(InvalidValue) as refusal:
        parameter.check(value)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [(SIZE, "large", "large"), (WORKERS, " 8", 8), (DEBUG, "true", True), (REGION, "any", "any")],
)
def test_forms_send_values_as_text(parameter, text, value):
    assert parameter.parse(text) == value


@pytest.mark.parametrize(
    ("parameter", "text"), [(WORKERS, "٣"), (WORKERS, "1" * 99), (DEBUG, "on")]
)
def test_text_that_stands_for_no_value_is_refused(parameter, text):
    with pytest.raises(InvalidValue):
        parameter.parse(text)


def test_no_pattern_backtracks():
    evil = Parameter(ParameterType.STRING, "", "Evil", pattern="(a+)+|(.*.*.*)*b")
    began = time.process_time()
    with pytest.raises(InvalidValue):
        evil.check("a" * 999 + "!")
    assert time.process_time() - began < 1
