"""What a database that came back from a backup means for those who read it and write it."""
