"""Warnings and emails to owners."""
