"""The explorer: requests to a sandbox's API and its tables."""
