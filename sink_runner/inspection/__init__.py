"""Events that cannot be applied, or not yet: kept encrypted in the target database."""
