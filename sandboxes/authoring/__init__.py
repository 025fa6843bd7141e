"""What authors of blueprints do before a portal has them: check, try, start and import.

Only commands do that. Nothing here needs a running portal, or reads or writes its database.
"""
