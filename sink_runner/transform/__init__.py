"""Turn decoded events into changes of the target: filter, map, look up, mask.

Pure functions over batches, apart from lookups. Imports `avro`, `masking` and what lies below;
`writer` writes what it makes.
"""
