"""Stellar keys and Friendbot, without database access."""
