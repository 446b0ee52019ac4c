"""The files of the console."""

import re

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from sink_runner.console.page import page

from ...support.api_service import Client


@pytest.fixture
def client():
    app = FastAPI()
    app.include_router(page())
    with start_blocking_portal() as portal:
        yield Client(app, portal)


def test_console_is_served_without_credentials(client):
    index = client.get("/console")
    assert (index.status_code, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name in re.findall(r'(?:href|src)="(console/[^"]+)"', index.text):
        assert client.get(f"/{name}").status_code == 200


def test_console_loads_nothing_from_elsewhere(client):
    headers = client.get("/console").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


def test_console_has_no_inline_script_or_style(client):
    text = client.get("/console").text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert not re.search(r"\s(?:on\w+|style)=", text)


def test_unchanged_file_is_not_sent_again(client):
    first = client.get("/console/console.js")
    again = client.get("/console/console.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_other_paths_below_the_console_are_unknown(client):
    for path in ("/console/../app.py", "/console/%2e%2e/app.py", "/console/none.js"):
        assert client.get(path).status_code == 404
