"""Who gets what from every address of the portal: the table, and the walk that it is held to."""
