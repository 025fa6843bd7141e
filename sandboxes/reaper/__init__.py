"""The sweep: reconciles engine and database, and ends sandboxes that are due."""
