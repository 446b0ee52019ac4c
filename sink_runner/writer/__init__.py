"""The target database: what may be written, how, and in which transaction."""
