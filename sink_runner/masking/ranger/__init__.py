"""Follow and exchange the policies of Ranger Admin: its client, `pull` and `push`, renewal.

Imports `masking`, which works without this folder; `runtime`, `batch`, `api`, `inspection` and
`cli` use it.
"""
