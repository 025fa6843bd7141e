"""Sandboxes as text and as JSON, shared by pages, API and webhooks."""
