"""The client of the schema registry against a local HTTP server."""

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import fastavro
import pytest

from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.config.registry import Registry
from sink_runner.errors import DecodeError, RetriableError, TimedOutError

UNKNOWN = (404, {"error_code": 40403, "message": "Schema not found"})


class Server:
    """Answers each path with the response that a test sets, and records the requests."""

    def __init__(self):
        self.responses = {}
        self.requests = []
        self.delay = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.path)
                time.sleep(server.delay)
                status, body = server.responses.get(self.path, (404, {"error_code": 404}))
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                with suppress(BrokenPipeError):  # the client did not wait
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def add_schema(self, path, schema, **others):
        self.responses[path] = (200, {"schema": json.dumps(schema), **others})

    def stop(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def registry(server):
    registry = SchemaCache(Registry(url=server.url + "/"), timeout=2.0)
    yield registry
    registry.close()


def record(name, *fields, **others):
    return {
        "type": "record",
        "name": name,
        **others,
        "fields": [{"name": field, "type": kind} for field, kind in fields],
    }


def test_schema_is_fetched_once(server, registry):
    schema = record("Key", ("id", "long"))
    server.add_schema("/schemas/ids/7", schema)
    assert registry.schema(7) == schema
    assert registry.schema(7) is registry.schema(7)
    assert server.requests == ["/schemas/ids/7"]


def test_references_replace_their_names(server, registry):
    ids = {"name": "a.Id", "subject": "a/Id", "version": 3}
    values = {"name": "a.Value", "subject": "a.Value", "version": 1}
    row = record("Value", ("id", "Id"), ("other", ["null", "a.Id"]), namespace="a")
    envelope = record("Envelope", ("before", ["null", "Value"]), ("after", ["null", "Value"]))
    server.add_schema("/schemas/ids/1", {**envelope, "namespace": "a"}, references=[values])
    server.add_schema("/subjects/a.Value/versions/1", row, references=[ids])
    server.add_schema("/subjects/a%2FId/versions/3", {"type": "fixed", "name": "a.Id", "size": 4})
    schema = registry.schema(1)
    before, after = (field["type"][1] for field in schema["fields"])
    assert before["fields"][0]["type"]["size"] == 4
    assert before["fields"][1]["type"] == ["null", "a.Id"]
    assert after == "Value"
    fastavro.parse_schema(schema)


def test_referenced_type_keeps_empty_namespace(server, registry):
    point = {"name": "Point", "subject": "Point", "version": 1}
    places = {"type": "array", "items": "Point"}
    outer = record(
        "Row", ("at", "Point"), ("more", places), ("all", {"type": "map", "values": "Point"})
    )
    server.add_schema("/schemas/ids/1", outer, references=[point])
    server.add_schema("/subjects/Point/versions/1", record("Point", ("x", "double")))
    schema = registry.schema(1)
    assert schema["fields"][0]["type"]["namespace"] == ""
    assert schema["fields"][1]["type"]["items"] == "Point"
    fastavro.parse_schema(schema)


def test_shared_reference_is_fetched_once(server, registry):
    leaf = {"name": "a.Leaf", "subject": "leaf", "version": 1}
    twig = {"name": "a.Twig", "subject": "twig", "version": 1}
    server.add_schema(
        "/schemas/ids/1",
        record("a.Tree", ("t", "a.Twig"), ("l", "a.Leaf")),
        references=[twig, leaf],
    )
    server.add_schema(
        "/subjects/twig/versions/1", record("a.Twig", ("l", "a.Leaf")), references=[leaf]
    )
    server.add_schema("/subjects/leaf/versions/1", record("a.Leaf", ("n", "int")))
    fastavro.parse_schema(registry.schema(1))
    assert server.requests.count("/subjects/leaf/versions/1") == 1


def test_unknown_schema_id_is_data_error(server, registry):
    server.responses["/schemas/ids/9"] = UNKNOWN
    server.responses["/subjects"] = (200, ["some-value"])
    with pytest.raises(DecodeError, match="schema 9"):
        registry.schema(9)


def test_unknown_id_is_requested_again(server, registry):
    server.responses["/schemas/ids/9"] = UNKNOWN
    server.responses["/subjects"] = (200, ["some-value"])
    with pytest.raises(DecodeError):
        registry.schema(9)
    server.add_schema("/schemas/ids/9", "string")
    assert registry.schema(9) == "string"


def test_empty_registry_is_transient_error(server, registry):
    server.responses["/schemas/ids/9"] = UNKNOWN
    server.responses["/subjects"] = (200, [])
    with pytest.raises(RetriableError, match="empty"):
        registry.schema(9)


@pytest.mark.parametrize(
    "response",
    [
        (404, b"<html>no such page</html>"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (429, {"error_code": 42901}),
        (500, {"error_code": 50001}),
        (503, b"starting"),
        (200, b"<html>log in</html>"),
        (200, {"no": "schema"}),
        (200, {"schema": "{not json"}),
        (200, ["unexpected"]),
    ],
    ids=str,
)
def test_other_response_is_transient_error(server, registry, response):
    server.responses["/schemas/ids/1"] = response
    with pytest.raises(RetriableError):
        registry.schema(1)
    server.add_schema("/schemas/ids/1", "long")
    assert registry.schema(1) == "long"


def test_missing_reference_is_transient_error(server, registry):
    leaf = {"name": "a.Leaf", "subject": "leaf", "version": 1}
    server.add_schema("/schemas/ids/1", record("a.Tree", ("l", "a.Leaf")), references=[leaf])
    for response in (UNKNOWN, (404, {"error_code": 40401})):
        server.responses["/subjects/leaf/versions/1"] = response
        with pytest.raises(RetriableError):
            registry.schema(1)


def test_schema_of_another_language_is_data_error(server, registry):
    server.add_schema("/schemas/ids/1", {"type": "object"}, schemaType="JSON")
    with pytest.raises(DecodeError, match="not an Avro schema"):
        registry.schema(1)


def test_closed_port_is_transient_error(server):
    registry = SchemaCache(Registry(url=server.url))
    server.stop()
    with pytest.raises(RetriableError, match="does not answer"):
        registry.schema(1)
    server._http.server_close()


def test_timeout_is_transient_error(server):
    registry = SchemaCache(Registry(url=server.url), timeout=0.05)
    slow = threading.Event()

    class Slow(dict):
        def get(self, *_):
            slow.wait(5)
            return 200, {}

    server.responses = Slow()
    with pytest.raises(RetriableError, match="Timeout"):
        registry.schema(1)
    slow.set()
    registry.close()


def test_timeout_is_longer_for_next_request(server):
    schema = record("Key", ("id", "long"))
    server.add_schema("/schemas/ids/7", schema)
    server.delay = 0.6
    registry = SchemaCache(Registry(url=server.url), timeout=0.5)
    with pytest.raises(TimedOutError):
        registry.schema(7)
    assert registry.schema(7) == schema
    registry.close()
