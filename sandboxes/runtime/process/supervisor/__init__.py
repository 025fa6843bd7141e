"""The process that runs one sandbox's services, and what it alone needs."""
