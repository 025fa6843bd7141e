"""Isolation tests: what code in a sandbox can reach, use up or disturb.

escape_attempts.py      runs in a container, with nothing but Python's standard library
containers.py           the containers that run it, and the targets of the attempts
resource_exhaustion.py  using up all resources while another sandbox and the portal are timed
socket_proxy.py         requests that the socket proxy must deny
__main__.py             runs everything and publishes the results
"""
