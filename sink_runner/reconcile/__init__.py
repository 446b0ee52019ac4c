"""Reconcile: compare what a mapping's source should have produced with what its target has.

`session` connects a mapping, `run` walks over source and target, `settlement` separates changes
that are on their way from differences, `repair` writes these. Imports `batch` and what lies below;
the command `reconcile` uses it.
"""
