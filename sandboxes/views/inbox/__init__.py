"""What happened in a sandbox: its events with their deliveries, and the requests to its API."""
