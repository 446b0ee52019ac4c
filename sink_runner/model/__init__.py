"""Value types that the parts share: messages, events, changes of a target, positions."""
