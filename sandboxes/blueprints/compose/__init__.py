"""Compose files: reading and normalizing them, then validating and planning their services."""
