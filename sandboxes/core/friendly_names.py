"""Names for sandboxes whose owners didn't choose one, such as `amber-falcon`."""

from __future__ import annotations

import secrets
from collections.abc import Collection

ADJECTIVES = (
    "amber brave brisk calm clever coral crisp eager fair gentle golden happy ivory jolly keen "
    "lively lucky mellow merry misty noble olive patient plucky proud quick quiet rapid royal "
    "rustic sandy scarlet shiny silent silver smooth snowy steady sunny swift tidy velvet vivid "
    "warm wise witty young zesty"
)
NOUNS = (
    "acorn aspen badger beacon birch brook canyon cedar comet condor coyote cricket dolphin "
    "falcon fern finch fjord fox gecko glacier harbor hawk heron island jaguar juniper kestrel "
    "lagoon lark lemur lynx maple marten meadow meteor orchid osprey otter panda pebble pine "
    "plover puffin quail raven reef robin salmon sparrow spruce summit swan tiger tulip valley "
    "walnut willow wren"
)
ATTEMPTS = 20


def friendly_name(taken: Collection[str] = ()) -> str:
    """Return a random name that isn't taken; names of ended sandboxes may come again."""
    for _ in range(ATTEMPTS):
        name = f"{secrets.choice(ADJECTIVES.split())}-{secrets.choice(NOUNS.split())}"
        if name not in taken:
            return name
    return f"{name}-{secrets.randbelow(1000)}"
