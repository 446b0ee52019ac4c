"""Decode Debezium's records in Avro.

Decoding is the largest part of an event's cost in Python, and most of an envelope is not used: the
before image, ten fields of the source block, columns that the mapping does not read.  A decoder
that is compiled for the writer's schema and the wanted columns skips them and returns a tuple.

Measured in one run on 20,000 updates of 20 columns in the form Debezium writes, down to a tuple
of the wanted columns: microseconds of CPU an event, best of five.  Read the ratios.

================================  =============  ==============
decoder                           `before` null  `before` whole
================================  =============  ==============
fastavro                          21             31
cavro                             8.1            12
cavro with a reader's schema      7.7            12
polars-avro, 500 a batch          10             11
polars-avro, 2000 a batch         5.8            7.7
compiled, all columns             7.7            10
compiled, 9 columns               7.1            9.3
================================  =============  ==============

Only polars-avro in large batches is faster, and there one bad message fails its whole batch.  The
compiled decoder has no dependency, and returns an error for a bad message only.  fastavro is the
reference: it reads every message that the compiled decoder refuses, and decides whether the message
can be decoded.
"""

from .decoder import EnvelopeDecoder, Plan, SchemaSource, schema_id_of
from .key_decoder import KeyDecoder

__all__ = ["EnvelopeDecoder", "KeyDecoder", "Plan", "SchemaSource", "schema_id_of"]
