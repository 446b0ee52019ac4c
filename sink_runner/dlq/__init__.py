"""The dead-letter queue: what supersedes, defers and replays events that could not be applied."""
