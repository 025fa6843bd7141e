"""The access matrix: who gets what from every route of the portal."""
