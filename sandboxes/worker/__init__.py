"""The worker's side of a sandbox: provision, reset, repair, tear down."""
