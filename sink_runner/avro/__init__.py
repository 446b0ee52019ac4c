"""Avro decoding of Debezium's records.

Decoding is most of what an event costs in Python, and most of an envelope is thrown away: the
row before, ten fields of the source block, columns that no mapping wants.  A decoder that is
compiled for the writer's schema and the wanted columns steps over all that and gives a tuple.

Measured on 20,000 updates of 20 columns in the form Debezium writes, down to a tuple of the
wanted columns, microseconds an event (one core, best of the runs; read the ratios):

=====================================  ==============  ==============
decoder                                `before` null   `before` whole
=====================================  ==============  ==============
fastavro                               24              32
cavro                                  11              12
cavro with a reader's schema           9.6             12
polars-avro, 500 a batch               11              12
polars-avro, 2000 a batch              6.9             7.6
compiled, 2000 a batch, all columns    7.0             9.1
compiled, 2000 a batch, 9 columns      6.4             8.5
=====================================  ==============  ==============

So it is as good as the best, needs no dependency, and knows good messages from bad ones singly.
fastavro stays as the reference: it reads whatever the compiled decoder gives up on, and has the
last word on whether a message can be read at all.
"""

from .decoder import EnvelopeDecoder, KeyDecoder, Plan, Registry, schema_id_of

__all__ = ["EnvelopeDecoder", "KeyDecoder", "Plan", "Registry", "schema_id_of"]
