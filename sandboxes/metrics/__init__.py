"""Prometheus metrics, outcome counts and health checks."""
