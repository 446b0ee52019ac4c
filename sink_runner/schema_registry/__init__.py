"""Talk to the schema registry: the one client that all its users share.

Imports `config` only; `avro` and `api` use it.
"""
