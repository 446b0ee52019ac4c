"""List, show, replay, discard and export dead letters; explain what became of any event.

Rows are masked for the user who reads them, and each reading of a dead letter is audited. Imports
`dlq`, `batch` and what lies below; the commands `dlq` and `explain`, and `retention`, use it.
"""
