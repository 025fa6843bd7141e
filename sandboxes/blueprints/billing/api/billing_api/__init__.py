"""The REST API of a billing sandbox: plans, subscribers, subscriptions, invoices, payments."""
