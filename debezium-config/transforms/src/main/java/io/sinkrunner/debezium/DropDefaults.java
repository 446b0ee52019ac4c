package io.sinkrunner.debezium;

import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Keeps an explicit NULL a NULL in a column that has a DEFAULT.
 *
 * <p>Debezium copies a column's DEFAULT into the schema of the row. Kafka Connect's
 * {@link Struct#get} answers with that default wherever the value is null, and the Avro converter
 * reads rows through it: an UPDATE that sets such a column to NULL arrives as the default, without
 * any sign that it did. This transform rebuilds the rows of a change event, {@code before} and
 * {@code after}, with the same schema less its defaults.
 *
 * <p>It also writes the names of columns, in the rows and in the key, as Avro allows them:
 * Debezium's own adjustments either give two columns one name ({@code a-b} and {@code a_b}), which
 * ends the capture of the database, or rename every column that has an underscore. Here a character
 * that Avro forbids becomes {@code _u} and four hexadecimal digits, and a name that Avro allows stays
 * as it is. The runner restores the names: sink_runner/avro/names.py.
 *
 * <p>The rest of the envelope stays as it is: {@code source.snapshot} has a default that is meant. Its
 * schema gets a parameter, {@code unavailable.value.placeholder}, with the setting of that name: what
 * stands for an unchanged TOASTed value in the rows of this schema. A topic keeps records that were
 * written before that setting of the connector was changed; their schema has the old placeholder.
 */
public final class DropDefaults<R extends ConnectRecord<R>> implements Transformation<R> {
    /** More schemas than this were never alive at once; a table that is altered leaves old ones. */
    private static final int MOST_SCHEMAS = 10_000;

    private static final String PLACEHOLDER = "unavailable.value.placeholder";

    private String placeholder;

    /** By identity: comparing two schemas of fifty columns costs more than building one. */
    private final Map<Schema, Schema> withoutDefaults =
            Collections.synchronizedMap(new IdentityHashMap<>());

    @Override
    public R apply(R record) {
        if (!isChangeEvent(record)) {
            return withAdjustedKey(record);
        }
        Schema schema = envelope(record.valueSchema());
        R changed = record.newRecord(
                record.topic(), record.kafkaPartition(), record.keySchema(), record.key(),
                schema, copyEnvelope((Struct) record.value(), schema),
                record.timestamp(), record.headers());
        return withAdjustedKey(changed);
    }

    /** The key of a change event or of its tombstone; one whose names Avro allows is kept. */
    private R withAdjustedKey(R record) {
        if (!(record.key() instanceof Struct) || allowed(record.keySchema())) {
            return record;
        }
        Schema schema = strip(record.keySchema());
        return record.newRecord(
                record.topic(), record.kafkaPartition(),
                schema, copyRow((Struct) record.key(), schema),
                record.valueSchema(), record.value(),
                record.timestamp(), record.headers());
    }

    private static boolean allowed(Schema schema) {
        for (Field field : schema.fields()) {
            if (!avroName(field.name()).equals(field.name())) {
                return false;
            }
        }
        return true;
    }

    /** The name as Avro allows it; no two names become the same. */
    static String avroName(String name) {
        StringBuilder adjusted = null;
        for (int at = 0; at < name.length(); at++) {
            char one = name.charAt(at);
            boolean alphabetic = one == '_' || (one >= 'a' && one <= 'z') || (one >= 'A' && one <= 'Z');
            boolean kept = alphabetic || (at > 0 && one >= '0' && one <= '9');
            if (kept && !(one == '_' && isCode(name, at))) {
                if (adjusted != null) {
                    adjusted.append(one);
                }
                continue;
            }
            if (adjusted == null) {
                adjusted = new StringBuilder(name.length() + 8).append(name, 0, at);
            }
            adjusted.append(String.format("_u%04x", (int) one));
        }
        return adjusted == null ? name : adjusted.toString();
    }

    /** Whether what stands here would be read as a code. */
    private static boolean isCode(String name, int at) {
        if (at + 5 >= name.length() || name.charAt(at + 1) != 'u') {
            return false;
        }
        for (int digit = at + 2; digit < at + 6; digit++) {
            char one = name.charAt(digit);
            if (!((one >= '0' && one <= '9') || (one >= 'a' && one <= 'f'))) {
                return false;
            }
        }
        return true;
    }

    /** Tombstones, heartbeats and transaction markers have no rows. */
    private boolean isChangeEvent(R record) {
        return record.value() instanceof Struct
                && record.valueSchema() != null
                && record.valueSchema().field("source") != null;
    }

    private static boolean isRow(Field field) {
        return field.name().equals("before") || field.name().equals("after");
    }

    private Schema envelope(Schema schema) {
        Schema known = withoutDefaults.get(schema);
        if (known != null) {
            return known;
        }
        SchemaBuilder builder = SchemaBuilder.struct().name(schema.name()).version(schema.version());
        for (Field field : schema.fields()) {
            builder.field(field.name(), isRow(field) ? strip(field.schema()) : field.schema());
        }
        if (placeholder != null) {
            builder.parameter(PLACEHOLDER, placeholder);
        }
        return remember(schema, builder.build());
    }

    private Schema strip(Schema schema) {
        Schema known = withoutDefaults.get(schema);
        if (known != null) {
            return known;
        }
        SchemaBuilder builder = likeWithoutDefault(schema);
        if (schema.name() != null) {
            builder.name(schema.name());
        }
        if (schema.version() != null) {
            builder.version(schema.version());
        }
        if (schema.doc() != null) {
            builder.doc(schema.doc());
        }
        if (schema.parameters() != null) {
            builder.parameters(schema.parameters());
        }
        if (schema.isOptional()) {
            builder.optional();
        }
        return remember(schema, builder.build());
    }

    private SchemaBuilder likeWithoutDefault(Schema schema) {
        switch (schema.type()) {
            case STRUCT:
                SchemaBuilder struct = SchemaBuilder.struct();
                for (Field field : schema.fields()) {
                    struct.field(avroName(field.name()), strip(field.schema()));
                }
                return struct;
            case ARRAY:
                return SchemaBuilder.array(schema.valueSchema());
            case MAP:
                return SchemaBuilder.map(schema.keySchema(), schema.valueSchema());
            default:
                return new SchemaBuilder(schema.type());
        }
    }

    private Schema remember(Schema schema, Schema stripped) {
        if (withoutDefaults.size() > MOST_SCHEMAS) {
            withoutDefaults.clear();
        }
        withoutDefaults.put(schema, stripped);
        return stripped;
    }

    private static Struct copyEnvelope(Struct from, Schema schema) {
        Struct to = new Struct(schema);
        for (Field field : schema.fields()) {
            Object value = from.getWithoutDefault(field.name());
            to.put(field, value != null && isRow(field) ? copyRow((Struct) value, field.schema()) : value);
        }
        return to;
    }

    private static Struct copyRow(Struct from, Schema schema) {
        Struct to = new Struct(schema);
        for (Field field : schema.fields()) { // both schemas have the same fields in the same order
            String name = from.schema().fields().get(field.index()).name();
            Object value = from.getWithoutDefault(name);
            if (value == null && !field.schema().isOptional()) {
                value = from.get(name); // a NOT NULL column of a DELETE without its old row
            }
            to.put(field, value instanceof Struct ? copyRow((Struct) value, field.schema()) : value);
        }
        return to;
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef().define(PLACEHOLDER, ConfigDef.Type.STRING, null, ConfigDef.Importance.LOW,
                "The connector's setting of this name");
    }

    @Override
    public void configure(Map<String, ?> settings) {
        placeholder = (String) settings.get(PLACEHOLDER);
    }

    @Override
    public void close() {
        withoutDefaults.clear();
    }
}
