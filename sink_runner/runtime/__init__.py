"""Run the process: one thread for each mapping, its retries, its start and its stop.

`builder` checks and connects a mapping, `worker` is its loop, `runner` owns all of them. Imports
everything but `commands`, which starts it.
"""
