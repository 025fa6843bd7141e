"""The dashboard: the page, its polls, and the launch form."""
