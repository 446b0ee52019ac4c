"""The schema registry's settings, and the client that all its users share."""
