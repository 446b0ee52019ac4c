"""Prepare the mappings of a database that was restored from a backup.

Imports `writer`, `kafka` and the layers below them; the command `recover` uses it.
"""
