"""Purges expired rows of the runner's own tables, and erases the data of one person from them.

Imports `inspection`, `schedule` and what lies below; `purge`, `erase` and `runtime` use it.
"""
