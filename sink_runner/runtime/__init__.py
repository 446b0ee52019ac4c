"""The running process: a thread for each mapping, its start, its faults and its end."""
