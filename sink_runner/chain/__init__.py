"""From decoded events to changes of the target, through the plugins' steps."""
