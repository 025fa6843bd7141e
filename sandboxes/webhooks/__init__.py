"""Webhooks according to Standard Webhooks (https://www.standardwebhooks.com).

`endpoints` manages them and `outbox` queues events. In a worker, `delivery` sends events, signed by
`signing`, through `client`, which connects only to public addresses. `inbox` does the same with
events of sandboxes.
"""
