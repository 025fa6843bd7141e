"""PostgreSQL of a billing sandbox as a process; counterpart of the scripts in `db`."""
