"""Check that a changed source table still fits the mapping that reads it.

The writer's schema is compared with the columns that the mapping names. A compatibility rule
between two versions in the registry would refuse harmless changes (a new column without a default)
and permit harmful ones (a removed column).
"""
