"""The process that holds connections: event streams, and the MCP server for agents.

A program of its own, which imports nothing of the portal: it calls the portal's API with the token
that each client sends, and has no access to the database, to keys or to engines.
"""
