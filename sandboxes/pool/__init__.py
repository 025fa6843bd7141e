"""The warm pool: claim a sandbox, plan and reconcile what the pool holds."""
