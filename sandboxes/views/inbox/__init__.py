"""The inbox of a sandbox: its events with their deliveries."""
