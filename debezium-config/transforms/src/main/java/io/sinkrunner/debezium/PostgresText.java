package io.sinkrunner.debezium;

import io.debezium.data.SpecialValueDecimal;
import io.debezium.spi.converter.CustomConverter;
import io.debezium.spi.converter.RelationalColumn;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.GregorianCalendar;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TimeZone;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.connect.data.SchemaBuilder;

/**
 * Writes a value as PostgreSQL's own text wherever Debezium's form would lose something.
 *
 * <p>Without it Debezium turns what it cannot convert into NULL and logs a warning ({@code
 * numeric[]} with NaN, every inner array of two dimensions), leaves columns out (composite types,
 * {@code xid8}, arrays of {@code interval}), rewrites values ({@code timetz} in UTC, time 24:00 as
 * 00:00), or writes two values as one ({@code date 'infinity'} and a day long ago, {@code
 * timestamp 'infinity'} and one of the year 294247). None of this is an error, so {@code
 * event.converting.failure.handling.mode} does not apply.
 *
 * <p>A column whose type is in {@link #KEPT}, or an enum, stays as Debezium writes it: that form
 * loses nothing. A date, a time and a timestamp keep Debezium's schema, so that readers know
 * what the text means. Every other column becomes a plain string that PostgreSQL's input function
 * reads.
 *
 * <p>The setting {@code unavailable.value.placeholder} is the connector's own of that name. A {@code
 * bytea} is written here so that its placeholder is not in base64, where it would be some value.
 */
public final class PostgresText implements CustomConverter<SchemaBuilder, RelationalColumn> {
    private static final int BYTEA = 17;
    private static final int DATE = 1082;
    private static final int TIME = 1083;
    private static final int TIMESTAMP = 1114;
    private static final int TIMESTAMPTZ = 1184;
    private static final int INTERVAL = 1186;
    private static final int TIMETZ = 1266;
    private static final int NUMERIC = 1700;

    /** Object ids of the types whose form in Debezium holds every value that PostgreSQL holds. */
    private static final Set<Integer> KEPT = Set.of(
            16, // bool
            20, // int8
            21, // int2
            23, // int4
            25, // text
            26, // oid
            114, // json
            142, // xml
            650, // cidr
            700, // float4
            701, // float8
            774, // macaddr8
            790, // money
            829, // macaddr
            869, // inet
            1042, // bpchar
            1043, // varchar
            2950, // uuid
            3802); // jsonb

    private static final Pattern DAY = Pattern.compile("\\d+-\\d\\d-\\d\\d( BC)?");
    private static final Pattern MOMENT =
            Pattern.compile("(\\d+-\\d\\d-\\d\\d) ([\\d:.]+)([+-][\\d:]+)?( BC)?");
    private static final String HEX = "hex:";
    private String placeholder;
    /** What the JDBC driver returns for an infinite date, in milliseconds. */
    private static final long JDBC_INFINITY = 9223372036825200000L;
    private static final long JDBC_MINUS_INFINITY = -9223372036832400000L;

    @Override
    public void configure(Properties settings) {
        String configured = settings.getProperty("unavailable.value.placeholder", "__debezium_unavailable_value");
        placeholder = configured.startsWith(HEX)
                ? new String(HexFormat.of().parseHex(configured.substring(HEX.length())), StandardCharsets.UTF_8)
                : configured;
    }

    @Override
    public void converterFor(RelationalColumn column, ConverterRegistration<SchemaBuilder> registration) {
        boolean required = !column.isOptional();
        switch (column.nativeType()) {
            case BYTEA:
                registration.register(SchemaBuilder.string(),
                        value -> value == null ? missing(required, "") : base64(value));
                return;
            case DATE:
                registration.register(named("io.debezium.time.IsoDate"),
                        value -> value == null ? missing(required, "1970-01-01Z") : date(value));
                return;
            case TIME:
                registration.register(named("io.debezium.time.IsoTime"),
                        value -> value == null ? missing(required, "00:00:00Z") : time(value));
                return;
            case TIMESTAMP:
                registration.register(named("io.debezium.time.IsoTimestamp"),
                        value -> value == null ? missing(required, "1970-01-01T00:00:00Z") : moment(value));
                return;
            case TIMESTAMPTZ:
                registration.register(named("io.debezium.time.ZonedTimestamp"),
                        value -> value == null ? missing(required, "1970-01-01T00:00:00Z") : moment(value));
                return;
            case TIMETZ:
                registration.register(named("io.debezium.time.ZonedTime"),
                        value -> value == null ? missing(required, "00:00:00Z") : text(value));
                return;
            case INTERVAL:
                registration.register(named("io.debezium.time.Interval"),
                        value -> value == null ? missing(required, "00:00:00") : text(value));
                return;
            case NUMERIC:
                registration.register(SchemaBuilder.string(),
                        value -> value == null ? missing(required, "0") : decimal(value));
                return;
            default:
                if (!isKept(column)) {
                    String none = column.jdbcType() == Types.ARRAY ? "{}" : "";
                    registration.register(SchemaBuilder.string(),
                            value -> value == null ? missing(required, none) : text(value));
                }
        }
    }

    private static boolean isKept(RelationalColumn column) {
        boolean isEnum = column.jdbcType() == Types.VARCHAR;
        return isEnum || KEPT.contains(column.nativeType());
    }

    private static SchemaBuilder named(String name) {
        return SchemaBuilder.string().name(name).version(1);
    }

    /** A NOT NULL column is null only in the row before a change, where just the key is known. */
    private static String missing(boolean required, String none) {
        return required ? none : null;
    }

    /** Debezium marks an unchanged TOASTed value by one of several bare objects. */
    private static boolean isUnavailable(Object value) {
        return value.getClass() == Object.class;
    }

    private String base64(Object value) {
        if (value instanceof ByteBuffer) {
            return base64(((ByteBuffer) value).array()); // a column's default
        }
        return value instanceof byte[] ? Base64.getEncoder().encodeToString((byte[]) value) : text(value);
    }

    private String text(Object value) {
        if (isUnavailable(value)) {
            return placeholder;
        }
        if (value instanceof byte[]) {
            return new String((byte[]) value, StandardCharsets.UTF_8);
        }
        if (value instanceof Map) {
            return hstore((Map<?, ?>) value);
        }
        if (value instanceof Boolean) {
            return (Boolean) value ? "1" : "0"; // the default of a bit(1)
        }
        return value.toString(); // arrays and the driver's own types give PostgreSQL's text
    }

    private static String hstore(Map<?, ?> pairs) {
        StringBuilder text = new StringBuilder();
        for (Map.Entry<?, ?> pair : pairs.entrySet()) {
            if (text.length() > 0) {
                text.append(", ");
            }
            text.append(quoted(pair.getKey())).append("=>");
            text.append(pair.getValue() == null ? "NULL" : quoted(pair.getValue()));
        }
        return text.toString();
    }

    private static String quoted(Object word) {
        return '"' + word.toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    private String decimal(Object value) {
        if (value instanceof SpecialValueDecimal) {
            SpecialValueDecimal special = (SpecialValueDecimal) value;
            return special.getDecimalValue().map(BigDecimal::toPlainString)
                    .orElseGet(() -> String.valueOf(special.toDouble()));
        }
        return value instanceof BigDecimal ? ((BigDecimal) value).toPlainString() : text(value);
    }

    /** As Debezium: the Z says nothing, the column has no zone. */
    private String time(Object value) {
        String text = text(value);
        return text.endsWith("Z") ? text : text + "Z";
    }

    /**
     * As Debezium, in UTC and with a Z where the column has no zone, but for an infinity, and without
     * the sign of a year after 9999: with it, one of them is what Debezium makes of 'infinity'.
     */
    private String moment(Object value) {
        Matcher parts = MOMENT.matcher(text(value));
        if (!parts.matches()) {
            return text(value); // an infinity, the placeholder, or a default as Debezium spells it
        }
        ZoneOffset zone = parts.group(3) == null ? ZoneOffset.UTC : ZoneOffset.of(parts.group(3));
        String day = parts.group(1) + (parts.group(4) == null ? "" : parts.group(4));
        String iso = OffsetDateTime.of(day(day), LocalTime.parse(parts.group(2)), zone)
                .withOffsetSameInstant(ZoneOffset.UTC)
                .format(DateTimeFormatter.ISO_OFFSET_DATE_TIME);
        return iso.startsWith("+") ? iso.substring(1) : iso;
    }

    private String date(Object value) {
        if (value instanceof java.sql.Date) {
            return date((java.sql.Date) value);
        }
        if (value instanceof Integer) {
            return spelled(LocalDate.ofEpochDay((Integer) value)); // a column's default
        }
        String text = text(value);
        return DAY.matcher(text).matches() ? spelled(day(text)) : text; // as in moment
    }

    private static LocalDate day(String text) {
        boolean isBeforeChrist = text.endsWith(" BC");
        String[] parts = (isBeforeChrist ? text.substring(0, text.length() - 3) : text).split("-");
        int year = Integer.parseInt(parts[0]);
        return LocalDate.of(isBeforeChrist ? 1 - year : year,
                Integer.parseInt(parts[1]), Integer.parseInt(parts[2]));
    }

    /** As Debezium spells a date: astronomical years, and a Z that says nothing. */
    private static String spelled(LocalDate date) {
        return date + "Z";
    }

    /** The JDBC driver counts in the proleptic Gregorian calendar, but java.sql.Date does not. */
    private static String date(java.sql.Date value) {
        if (value.getTime() == JDBC_INFINITY) {
            return "infinity";
        }
        if (value.getTime() == JDBC_MINUS_INFINITY) {
            return "-infinity";
        }
        GregorianCalendar calendar = new GregorianCalendar(TimeZone.getDefault());
        calendar.setTime(value);
        int year = calendar.get(GregorianCalendar.YEAR);
        boolean isBeforeChrist = calendar.get(GregorianCalendar.ERA) == GregorianCalendar.BC;
        return spelled(LocalDate.of(
                isBeforeChrist ? 1 - year : year,
                calendar.get(GregorianCalendar.MONTH) + 1,
                calendar.get(GregorianCalendar.DAY_OF_MONTH)));
    }
}
