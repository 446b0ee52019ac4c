"""Find plugins, check what they declare, and quarantine those that cannot run.

Imports `plugin`, `hookspecs` and `config`; knows no database.
"""
