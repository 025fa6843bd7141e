"""Prepare blueprints: build their images, and store what sandboxes are launched from.

Only an operator's command does that, with the engine's own socket. The web process activates what
was prepared, and can't add anything.
"""
