"""Sandboxes as processes of this machine, for a first look where there is no engine.

    prepared directory → copy of it, record → keeper → services      create
    keeper → whatever else is left → directory                       destroy

Each sandbox has a directory, and one process in it, the keeper, that starts the services, passes on
what callers send them, and measures. The keeper outlives the portal's processes. That it runs is
known by the lock that it holds, and what belongs to it by a mark in the environment of each
process: a number alone proves nothing, since the system gives it out again.

The keeper's own modules (`keeper`, `front`, `clothes`, `table`, `home`) need nothing but Python.
"""
