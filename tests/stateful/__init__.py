"""State machines that Hypothesis drives."""
