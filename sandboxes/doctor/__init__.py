"""What is right and wrong with this installation, looked at from the machine of the worker.

order → engine, networks, machine, stores, work, keys, outside, configuration → findings
examination runs each of them within its time; pages writes down what was found
"""
