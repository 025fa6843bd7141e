"""What a portal takes: time, memory and engine calls, measured side by side on a real engine.

`python -m tests.bench` runs it all (`make bench` installs what that needs); each measurement is a
function of a module with the noun's name, and gives back plain figures for `results.json`.
"""
