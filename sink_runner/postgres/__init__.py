"""What the runner knows of PostgreSQL: the types of its columns and the checks before a row moves.

Imports the errors and the plugin API only; decoding, writing and the schema check use it.
"""
