"""Compose files: reading, normalizing and validating them."""
