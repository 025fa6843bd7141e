"""Accounts: sign-up rules, invitations, sessions and API tokens, on top of django-allauth."""
