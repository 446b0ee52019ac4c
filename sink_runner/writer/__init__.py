"""Write a batch to the target in one transaction.

The transaction holds rows, dead letters, offsets, conflicts and the audit record; `committer` owns
it. Imports `transform` and what lies below; `dlq`, `batch` and `runtime` commit by it.
"""
