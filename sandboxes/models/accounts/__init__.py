"""Accounts: what belongs to a user rather than to a sandbox."""
