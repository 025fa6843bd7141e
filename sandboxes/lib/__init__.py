"""Building blocks that know nothing of sandboxes."""
