"""The console at /console: its page, and the routes under /v1/ that only the page needs.

`page` has static files without data; `routes` answers what they show of one mapping, from the
functions that the command line uses.  It may import every package but the commands; `sink-runner
api` adds its routers to the service.
"""
