"""Find the plugins, check what they declare, freeze their hooks."""
