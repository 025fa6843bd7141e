"""The rules of a sandbox: states, leases, limits, deadlines. Nothing here reaches an engine."""
