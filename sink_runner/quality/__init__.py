"""Count and report the rows that broke a rule.

The rules themselves are in `model.quality_rules`. Imports `postgres` and what lies below.
"""
