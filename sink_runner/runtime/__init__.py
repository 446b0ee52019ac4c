"""Run the process: one thread for each mapping, its retries, its start and its stop.

`builder` checks and connects a mapping, `worker` is its loop, `runner` starts and stops all of
them. Imports every layer below; the command `run` starts it.
"""
