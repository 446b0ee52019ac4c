"""Other sinks on the same topic and table."""
