"""Secrets at rest: encrypted model fields and key rotation."""
