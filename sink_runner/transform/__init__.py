"""From change events to changes of the target: pure functions over batches."""
