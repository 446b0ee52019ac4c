package io.sinkrunner.debezium;

import org.postgresql.util.PGobject;

/** An interval as the JDBC driver received it; the driver's own class reads 'infinity' as zero. */
public final class IntervalText extends PGobject {
    private static final long serialVersionUID = 1L;

    public IntervalText() {
        setType("interval");
    }
}
