"""The alert drill: causes the condition of each alert on a real stack until it fires and clears."""
