"""What the doctor looks at: each thing as it should be, and as it should not."""
