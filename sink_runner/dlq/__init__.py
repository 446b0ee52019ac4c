"""Keep events that could not be applied, retry them in order, and publish them to Kafka.

`retry_queue` retries deferred events; `superseding` decides which newer event makes an older one
obsolete. Imports `writer` and what lies below; `inspection` and `runtime` use it.
"""
