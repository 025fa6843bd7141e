"""Utilities that don't depend on other packages of the portal."""
