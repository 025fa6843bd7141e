"""Lucide's icons, rendered when a template is compiled if their arguments are constants.

The package's own `lucide` tag builds the XML of each icon each time, which took a quarter of the
rendering time of a dashboard.
"""

from __future__ import annotations

from functools import lru_cache

from django import template
from django.template.base import FilterExpression, Node, Parser, TextNode, Token
from django.template.library import SimpleNode
from lucide.templatetags.lucide import lucide

register = template.Library()
register.simple_tag(lru_cache(maxsize=500)(lucide), name="lucide")
_compile = register.tags["lucide"]


@register.tag("lucide")
def compile_icon(parser: Parser, token: Token) -> Node:
    node: SimpleNode = _compile(parser, token)
    if all(map(_is_constant, (*node.args, *node.kwargs.values()))):
        return TextNode(node.render(template.Context()))
    return node


def _is_constant(argument: FilterExpression) -> bool:
    # A number is a variable without lookups.
    return not getattr(argument.var, "lookups", None)
