"""Diagnostics of this installation, run on the worker's machine.

`registry` lists the checks of the other modules. `runner` runs each with a timeout, and `report`
formats their `findings`.
"""
