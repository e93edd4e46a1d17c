"""Names the commands and runs the one that is called."""
