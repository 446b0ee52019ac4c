"""Report to an OpenLineage receiver which data a mapping reads and writes, column by column.

`client` sends events in a thread, and never delays or ends a mapping.  `datasets` describes tables
and columns, and `events` writes the JSON of the specification, which is at openlineage.io/spec.  No
event contains a value of a row.
"""
