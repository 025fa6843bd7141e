"""Benchmarks: time, memory and engine calls of a portal, measured on a real engine.

`python -m tests.bench` runs all of them (`make bench` installs what they need). Each measurement is
a function in the module of its topic and returns plain figures for `results.json`.
"""
