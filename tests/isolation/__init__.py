"""What code in a sandbox can reach, take or disturb, found out from the inside.

escape_attempts.py      runs in a container, with nothing but Python's standard library
containers.py           the containers that it runs in, their neighbour, and what it is pointed at
resource_exhaustion.py  taking all there is, while the neighbour and the portal are timed
__main__.py             all of it, and what is published of it
"""
