"""What is checked in both databases, Kafka and the capture before a mapping moves a row."""
