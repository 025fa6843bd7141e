"""Building the images of blueprints."""
