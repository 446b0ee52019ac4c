"""List, show, explain, replay, discard and export dead letters.

Rows are masked for the user who reads them, and each reading is audited. Imports `dlq`, `batch` and
what lies below; the `dlq` commands and `retention` use it.
"""
