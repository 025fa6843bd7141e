"""Pages of save points."""
