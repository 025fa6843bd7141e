"""The explorer: requests to a sandbox's API, its tables, and the log of its requests."""
