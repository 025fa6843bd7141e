"""Prepare blueprints, and build the command-line client.

Only an operator's command does that, with the engine's own socket. The web process activates what
was prepared, and can't add anything.
"""
