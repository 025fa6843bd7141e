"""What the portal is put through on a real engine: kills, outages, crowds; `make chaos`."""
