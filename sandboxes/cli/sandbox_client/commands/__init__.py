"""The command line: `sandbox`."""
