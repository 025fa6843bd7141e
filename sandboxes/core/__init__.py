"""The rules of sandboxes: states, leases, limits, deadlines. Nothing here calls an engine."""
