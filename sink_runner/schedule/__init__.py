"""Run the batches that mappings declare, each once when it is due.

Imports `postgres`, `loading` and `config`; starts `sink-runner batch` as a child process.
"""
