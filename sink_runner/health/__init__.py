"""Serve health checks and metrics over HTTP.

Imports `config` and `model.status`, which collects the metrics; used by `runtime` and `cli`.
"""
