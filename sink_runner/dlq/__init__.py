"""Keep events that could not be applied, retry them in order, and publish them to Kafka.

`retry_queue` applies deferred events again; `superseding` decides which newer event settles an
older one. Imports `writer` and what lies below; `inspection` and `runtime` use it.
"""
