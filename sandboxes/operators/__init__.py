"""What operators see and did: overview, alerts, audit."""
