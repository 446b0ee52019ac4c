"""What must hold of rows: the rules, what broke them, and the report."""
