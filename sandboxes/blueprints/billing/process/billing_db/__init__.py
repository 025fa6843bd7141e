"""PostgreSQL of a billing sandbox as a process: what the scripts in `db` do inside an image."""
