package io.sinkrunner.debezium;

import io.debezium.jdbc.JdbcConfiguration;
import io.debezium.jdbc.JdbcConnection;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;

/**
 * Connects as Debezium does, to databases that Debezium and the JDBC driver cannot read.
 *
 * <p>Debezium's {@code TypeRegistry} reads the labels of every type whose category is that of enums.
 * A domain over an enum has the category and no labels, and a NullPointerException ends the capture
 * of the database: at its start, whether or not a captured table has such a column, and where a
 * column of a domain that was made later arrives. Here the query for the types gives a domain another
 * category. Its values are still written as those of its base type.
 *
 * <p>The driver answers a {@code refcursor} with the rows of the cursor of that name, and without one
 * the snapshot ends. Here a column of that type is read as text.
 */
public final class CaptureConnections implements JdbcConnection.ConnectionFactory {
    private static final String CATEGORY = "t.typcategory as category";
    private static final String CATEGORY_OF_ENUMS_ALONE =
            "CASE WHEN t.typcategory = 'E' AND t.typtype <> 'e' THEN 'U' ELSE t.typcategory END as category";
    private static final JdbcConnection.ConnectionFactory DEBEZIUM = JdbcConnection.patternBasedFactory(
            "jdbc:postgresql://${hostname}:${port}/${dbname}",
            org.postgresql.Driver.class.getName(),
            CaptureConnections.class.getClassLoader(),
            JdbcConfiguration.PORT.withDefault("5432"));

    @Override
    public Connection connect(JdbcConfiguration config) throws SQLException {
        return (Connection) wrapped(Connection.class, DEBEZIUM.connect(config));
    }

    /** Passes every call on, but for the query of the types. */
    private static Object wrapped(Class<?> type, Object real) {
        return proxy(type, (proxy, method, arguments) -> {
            if (arguments != null && arguments[0] instanceof String) {
                arguments[0] = ((String) arguments[0]).replace(CATEGORY, CATEGORY_OF_ENUMS_ALONE);
            }
            Object made = method.invoke(real, arguments);
            if (made instanceof Statement) {
                return wrapped(method.getReturnType(), made);
            }
            return made instanceof ResultSet && hasCursors((ResultSet) made)
                    ? withCursorsAsText((ResultSet) made)
                    : made;
        });
    }

    private static boolean hasCursors(ResultSet rows) throws SQLException {
        ResultSetMetaData columns = rows.getMetaData();
        for (int column = 1; column <= columns.getColumnCount(); column++) {
            if (columns.getColumnType(column) == Types.REF_CURSOR) {
                return true;
            }
        }
        return false;
    }

    private static Object withCursorsAsText(ResultSet rows) {
        return proxy(ResultSet.class, (proxy, method, arguments) -> {
            boolean isCursor = method.getName().equals("getObject")
                    && arguments[0] instanceof Integer
                    && rows.getMetaData().getColumnType((Integer) arguments[0]) == Types.REF_CURSOR;
            return isCursor ? rows.getString((Integer) arguments[0]) : method.invoke(rows, arguments);
        });
    }

    private static Object proxy(Class<?> type, InvocationHandler calls) {
        InvocationHandler handler = (proxy, method, arguments) -> {
            try {
                return calls.invoke(proxy, method, arguments);
            } catch (InvocationTargetException failed) {
                throw failed.getCause();
            }
        };
        Class<?>[] types = {type};
        return Proxy.newProxyInstance(CaptureConnections.class.getClassLoader(), types, handler);
    }
}
