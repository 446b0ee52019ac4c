"""Set the offsets of a database that was restored from a backup.

Imports `writer`, `kafka` and what lies below; `sink-runner recover` uses it.
"""
