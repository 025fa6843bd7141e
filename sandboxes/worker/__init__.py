"""The worker's side of a sandbox: provision, maintain, tear down."""
