"""The sweep that reconciles engine and database and ends what is due."""
