"""Check both databases, Kafka and the capture before a mapping starts.

Each check yields findings that say what is wrong, what was expected and what to run. Imports
`transform`, `kafka` and what lies below; `runtime`, `batch` and `schema_check` run it.
"""
