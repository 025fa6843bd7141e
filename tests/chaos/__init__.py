"""Fault injection on a real engine: process kills, concurrency and outages; `make chaos`."""
