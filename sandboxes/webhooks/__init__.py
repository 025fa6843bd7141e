"""Webhooks, as the Standard Webhooks specification has them (https://www.standardwebhooks.com).

`managing` keeps them, `outbox` queues what they are told, `delivering` sends it in the worker
through `connecting`, which reaches public addresses alone, signed by `signing`.
"""
