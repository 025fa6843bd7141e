"""The Docker socket proxy: forwards the engine calls of one portal instance.

A request travels through these modules:

    server      one connection: limits of size and time, forwarding, hang-ups
    tls         certificates on both sides, for connections over the network
    http1       the request's bytes are parsed strictly
    policy      finds the operation; path, query and body are rebuilt from parsed values
    operations  the table of everything that is allowed
    bodies      the schemas of the bodies, from the operator's settings
    archives    tar archives of files are parsed and written again
    objects     containers, networks, images, … are looked up, checked, and replaced by their IDs
    answers     what the caller may see of answers that concern the whole engine
    engine      the connection to the engine
    host        what the proxy itself reports about its machine

`schema` has the validators, `settings` reads the environment. Only the standard library is used.
"""
