"""Start the batch runs that mappings schedule, each once when it is due.

Imports `postgres`, `loading` and `config`; starts `sink-runner batch` as a child process.
"""
