"""`sink-runner doctor`: every check of a deployment, each reported whatever the others find.

The checks of a mapping are those of `preflight`, `schema_check` and `masking`; the modules here add
those of the configuration and of each server. Imports `schema_check`, `dlq` and what lies below.
"""
