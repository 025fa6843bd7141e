"""Sandboxes as processes of this machine, to try the portal without an engine.

    template → copy, manifest → supervisor → services      create
    supervisor → remaining processes → directory           destroy

Each sandbox has a directory and one process, the supervisor, that starts the services, forwards
callers' traffic and measures usage. The supervisor outlives the portal's processes. Its lock shows
that it runs, and a mark in the environment of each process shows what belongs to it: a process ID
alone proves nothing, since the system reuses it.

The modules that the supervisor imports (`supervisor`, `proxy`, `rlimits`, `process_table`,
`state_dir`, `logfile`) use only the standard library and psutil, so it starts fast and stays small.
"""
