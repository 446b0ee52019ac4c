"""Define the value types that the packages share.

Messages, events, changes of a target, batches, dead letters, positions and findings. Imports
`plugin` and `errors` only.
"""
