"""Reports of the test tools, and tests of the tools."""
