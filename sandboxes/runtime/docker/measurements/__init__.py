"""What sandboxes use: memory, CPU, traffic, and disk space of their writable layers."""
