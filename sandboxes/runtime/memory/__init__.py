"""A fake runtime for tests: sandboxes are entries of a dictionary."""

from sandboxes.runtime.memory.runtime import MemoryRuntime

__all__ = ["MemoryRuntime"]
