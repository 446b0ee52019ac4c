"""Serve health checks and metrics over HTTP.

Imports `config` and `model.status`, which collects the figures; `runtime` serves it.
"""
