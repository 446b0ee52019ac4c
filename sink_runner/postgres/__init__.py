"""Know PostgreSQL: sessions, catalog, types, error classes, and the runner's own tables.

Imports `config`, `plugin` and what lies below; everything that reads or writes a database uses it.
"""
