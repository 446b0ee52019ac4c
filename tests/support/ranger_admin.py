"""A stand-in for Ranger Admin on loopback, with the endpoints that its clients call.

Ranger Admin itself is a web application that needs a database. The responses follow its source,
and `test_poll.py` checks them with Ranger's own client, RangerAdminRESTClient.
"""

import base64
import copy
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from sink_runner.config.policies import RangerAdmin
from sink_runner.config.reader import SettingsReader

USER, PASSWORD = "admin", "rangerR0cks!"
_API = "/service/public/v2/api"
_TIME = 1767225600000


class Admin:
    """The state of the Admin, and the requests that it has received."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.policies: list[dict[str, Any]] = []
        self.version = 1
        self.requests: list[str] = []
        """Method and path of each request."""
        self.failure_status = 0
        """The status of every response, unless 0."""
        self.url = ""
        self.password = PASSWORD
        self.authorizations: list[str | None] = []
        """The Authorization header of each request."""

    def add_service(self, name: str, definition: dict[str, Any]) -> None:
        """Create a service; as in Ranger, it starts with an access policy for its owner."""
        self.definitions[definition["name"]] = definition
        self.services[name] = {"id": 1, "name": name, "type": definition["name"]}
        levels = [level["name"] for level in definition["resources"]]
        access = [{"type": "select", "isAllowed": True}]
        self.add(
            {
                "service": name,
                "name": f"all - {', '.join(levels)}",
                "policyType": 0,
                "resources": {level: {"values": ["*"]} for level in levels},
                "policyItems": [{"accesses": access, "users": ["admin"], "delegateAdmin": True}],
            }
        )

    def add(self, policy: dict[str, Any]) -> dict[str, Any]:
        number = max([0, *(known["id"] for known in self.policies)]) + 1
        stored = {**_with_defaults(policy), "id": number, "guid": f"guid-{number}", "version": 1}
        self.policies.append(stored)
        self.version += 1
        return stored

    def download(self, service: str) -> dict[str, Any]:
        kind = self.services[service]["type"]
        return {
            "serviceName": service,
            "serviceId": 1,
            "policyVersion": self.version,
            "policyUpdateTime": _TIME,
            "policies": self.policies,
            "serviceDef": {**self.definitions[kind], "guid": "guid-of-def", "createTime": _TIME},
            "auditMode": "audit-default",
        }


def _with_defaults(policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy with the fields that Ranger Admin adds when it stores one."""
    return {
        "isEnabled": True,
        "policyPriority": 0,
        "isAuditEnabled": True,
        "createdBy": "Admin",
        "updatedBy": "Admin",
        "createTime": _TIME,
        "updateTime": _TIME,
        "resourceSignature": "0" * 64,
        "isDenyAllElse": False,
        "policyItems": [],
        "denyPolicyItems": [],
        "allowExceptions": [],
        "denyExceptions": [],
        "dataMaskPolicyItems": [],
        "rowFilterPolicyItems": [],
        "serviceType": "sink",
        "options": {},
        "validitySchedules": [],
        "policyLabels": [],
        "zoneName": "",
        **copy.deepcopy(policy),
    }


def admin_settings(url: str, **changes: Any) -> RangerAdmin:
    """Return `[policies]` with the admin's login over plain HTTP; None removes a setting."""
    table = {"admin": url, "user": USER, "password": PASSWORD, "allow_plaintext_credentials": True}
    merged = {key: value for key, value in (table | changes).items() if value is not None}
    return SettingsReader().read(RangerAdmin, merged, "policies")


@contextmanager
def admin(context: ssl.SSLContext | None = None) -> Iterator[Admin]:
    """Serve an Admin over HTTP, or over HTTPS if there is a context."""
    state = Admin()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"state": state}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients of the TLS tests break off handshakes
    state.url = f"http://127.0.0.1:{server.server_port}"
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        state.url = state.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Admin

    def _handle(self) -> None:
        url = urlparse(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(size)) if size else None
        self.state.requests.append(f"{self.command} {url.path}")
        self.state.authorizations.append(self.headers.get("Authorization"))
        if self.state.failure_status:
            return self._send_response(self.state.failure_status, None)
        path = unquote(url.path)
        # As in Ranger without Kerberos, downloads by plugins need no login; the public API does.
        if path.startswith("/service/public/") and not _is_authenticated(self.state, self.headers):
            return self._send_response(401, {"statusCode": 1, "msgDesc": "Authentication Failed"})
        return self._send_response(
            *respond(self.state, self.command, path, parse_qs(url.query), content)
        )

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _send_response(self, status: int, content: Any) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        has_body = status not in (204, 304)
        self.send_response(status)
        if has_body:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _is_authenticated(state: Admin, headers: Any) -> bool:
    token = base64.b64encode(f"{USER}:{state.password}".encode()).decode()
    return headers.get("Authorization") == f"Basic {token}"


def respond(
    state: Admin, method: str, path: str, query: dict[str, list[str]], content: Any
) -> tuple[int, Any]:
    """Return the status and content of the response."""
    if match := re.fullmatch(
        r"/service/(?:plugins/(?:secure/)?policies|roles)/download/(.+)", path
    ):
        return _download(state, path, match[1], query)
    endpoint = path.removeprefix(_API)
    if method == "POST":
        return _create(state, endpoint, content)
    if match := re.fullmatch(r"/service/(.+)/policy", endpoint):
        return (200, state.policies) if match[1] in state.services else (404, None)
    if match := re.fullmatch(r"/policy/(\d+)", endpoint):
        return _handle_policy(state, method, int(match[1]), content)
    for kind, known in (("service", state.services), ("servicedef", state.definitions)):
        name = endpoint.removeprefix(f"/{kind}/name/")
        if name in known:
            return 200, known[name]
    return 404, _message("Data not found")


def _download(
    state: Admin, path: str, service: str, query: dict[str, list[str]]
) -> tuple[int, Any]:
    if service not in state.services:
        return 404, f'"RANGER_ERROR_SERVICE_NOT_FOUND: ServiceName={service}"'
    if "/roles/" in path:
        return 304, None
    known_version = int(query.get("lastKnownVersion", ["-1"])[0])
    return (304, None) if known_version >= state.version else (200, state.download(service))


def _create(state: Admin, kind: str, content: Any) -> tuple[int, Any]:
    if kind == "/servicedef":
        state.definitions[content["name"]] = content
        return 200, content
    if kind == "/service":
        state.add_service(content["name"], state.definitions[content["type"]])
        return 200, state.services[content["name"]]
    if any(policy["name"] == content["name"] for policy in state.policies):
        return 400, _message(
            f"(0) Another policy already exists for this name: [{content['name']}]"
        )
    return 200, state.add(content)


def _handle_policy(state: Admin, method: str, number: int, content: Any) -> tuple[int, Any]:
    known = next((policy for policy in state.policies if policy["id"] == number), None)
    if known is None:
        return 404, _message("Data not found")
    if method == "DELETE":
        state.policies.remove(known)
        state.version += 1
        return 204, None
    if method == "PUT":
        version = known["version"] + 1
        kept = {"id": number, "guid": known["guid"], "version": version}
        state.policies[state.policies.index(known)] = known = {**_with_defaults(content), **kept}
        state.version += 1
    return 200, known


def _message(text: str) -> dict[str, Any]:
    return {"statusCode": 1, "msgDesc": text}
