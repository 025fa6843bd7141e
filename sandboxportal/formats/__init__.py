"""Formats of times in the admin, by language."""
