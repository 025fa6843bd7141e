"""Admin pages of users, groups, and what belongs to accounts."""
