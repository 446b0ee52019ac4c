"""Run the batches that the mappings declare, each when it is due."""
