"""Let operators see and control the mappings of all runners, through tables of the targets.

Imports `batch`, `recovery` and the layers below them.  `runtime` reads what operators want and
writes heartbeats; commands and the API read the state and change what is wanted.
"""
