"""Reconcile: compare what a mapping's source should have produced with what its target has.

`session` connects a mapping, `run` walks over source and target, `settlement` separates differences
from changes that are not applied yet, `repair` writes the differences. Imports `batch` and the
layers below it; the command `reconcile` uses it.
"""
