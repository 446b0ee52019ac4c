"""Does what a source table has become still fit the mapping that reads it?

What counts is the writer's schema against the columns that the mapping names: a rule between two
versions in the registry would refuse what does no harm (a new column without a default) and pass
what does (a column that is gone).
"""
