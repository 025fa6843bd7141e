"""Requests to other servers, with a total time limit and a count of their bytes."""
