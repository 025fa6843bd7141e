"""Numbers of examples of generated tests: few by default, many with HYPOTHESIS_PROFILE=large.

`make fuzz` sets its own numbers. The small profile always tries the same examples.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("small", max_examples=10, derandomize=True, deadline=None, database=None)
settings.register_profile("large", max_examples=200, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "small"))
