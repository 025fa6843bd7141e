"""Requests to the API of a sandbox: its operations, one request, and the log of all requests."""
