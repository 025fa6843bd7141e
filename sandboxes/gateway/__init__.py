"""The gateway: host names with TLS for the endpoints of sandboxes.

Traefik is the gateway. It pulls its routes from the portal, which isn't in the path of the data.
"""
