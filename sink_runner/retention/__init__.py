"""How long the runner keeps what it has written for itself."""
