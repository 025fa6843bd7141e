"""Events of sandboxes: read by the portal, kept in an inbox, delivered as webhooks.

A worker reads the events of running sandboxes (`reader`, `source`) and stores them with a delivery
for each endpoint that wants them (`feeds`); `delivery` sends them under the rules of the portal's
own webhooks. `inbox` is what pages and API call.
"""
