"""A sandbox in words and in JSON, shared by pages, API and webhooks."""
