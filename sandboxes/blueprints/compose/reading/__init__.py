"""From the files of a blueprint to one tree in normal form."""
