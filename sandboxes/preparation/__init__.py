"""Prepare blueprints, check and add engines, and build the command-line client.

Only operators' commands and workers do that, since engines are called. The web process activates
versions that were prepared, and asks a worker to add an engine.
"""
