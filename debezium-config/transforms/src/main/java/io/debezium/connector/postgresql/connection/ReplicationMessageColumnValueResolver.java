package io.debezium.connector.postgresql.connection;

import io.debezium.connector.postgresql.PostgresStreamingChangeEventSource.PgConnectionSupplier;
import io.debezium.connector.postgresql.PostgresType;
import io.debezium.connector.postgresql.TypeRegistry;
import io.debezium.connector.postgresql.connection.ReplicationMessage.ColumnValue;

/**
 * Takes the place of Debezium's class of this name: it comes first on the class path.
 *
 * <p>Debezium's own parses a value before a converter sees it, and what it cannot parse ends the
 * capture of the whole database ({@code timetz} with seconds in its zone) or is changed without a
 * word (interval 'infinity' becomes zero). This one parses only the types whose Java form holds
 * every value, and passes PostgreSQL's text on for all others; PostgresText writes it.
 */
public class ReplicationMessageColumnValueResolver {
    /** The signature is Debezium's. */
    public static Object resolveValue(
            String columnName, PostgresType type, String fullType, ColumnValue value,
            PgConnectionSupplier connection, boolean includeUnknownDatatypes, TypeRegistry registry) {
        if (value.isNull()) {
            return null;
        }
        switch (type.getRootType().getOid()) {
            case 16:
                return value.asBoolean();
            case 17:
                return value.asByteArray();
            case 20: // int8
            case 26: // oid
                return value.asLong();
            case 21: // int2
            case 23: // int4
                return value.asInteger();
            case 700:
                return value.asFloat();
            case 701:
                return value.asDouble();
            case 790:
                return value.asMoney();
            default:
                return value.asString();
        }
    }
}
