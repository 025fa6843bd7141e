"""Django's database backend for PostgreSQL, with a limit on the time of an answer."""
