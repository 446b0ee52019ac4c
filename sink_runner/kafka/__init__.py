"""Records from Kafka, by either client."""
