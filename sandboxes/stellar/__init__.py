"""Stellar keys and friendbot. Pure: no database."""
