"""Purge expired rows of the runner's own tables, and erase the data of one person from them.

Imports `inspection`, `schedule` and the layers below them; `runtime` and the commands `purge` and
`erase` use it.
"""
