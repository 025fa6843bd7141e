"""Stateful property tests: Hypothesis runs random sequences of operations."""
