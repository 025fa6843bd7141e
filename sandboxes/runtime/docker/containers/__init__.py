"""Containers of a sandbox: configuration, creation, start, replacement, repair and removal."""
