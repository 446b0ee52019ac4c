"""Delete what the runner no longer has to keep, and all data of one person.

Imports `inspection`, `schedule` and what lies below; `purge`, `erase` and `runtime` use it.
"""
