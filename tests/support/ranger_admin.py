"""A stand-in for Ranger Admin on loopback: the calls that its clients make, answered as it does.

Ranger Admin itself is a war that wants a database; what it answers was taken from its sources,
and Ranger's own RangerAdminRESTClient believes this one (`test_poll.py`).
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
from sink_runner.config.reader import Reader

USER, PASSWORD = "admin", "rangerR0cks!"
_API = "/service/public/v2/api"
_TIME = 1767225600000


class Admin:
    """What the Admin holds, and what it was asked."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.policies: list[dict[str, Any]] = []
        self.version = 1
        self.asked: list[str] = []
        self.down = 0
        """A status that it answers to everything."""
        self.url = ""
        self.password = PASSWORD
        self.authorizations: list[str | None] = []
        """What the requests were signed with."""

    def add_service(self, name: str, definition: dict[str, Any]) -> None:
        """A service begins with a policy of access, made for its owner."""
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
        made = {**_filled(policy), "id": number, "guid": f"guid-{number}", "version": 1}
        self.policies.append(made)
        self.version += 1
        return made

    def downloaded(self, service: str) -> dict[str, Any]:
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


def _filled(policy: dict[str, Any]) -> dict[str, Any]:
    """What the Admin adds by itself."""
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


def signed_in(url: str, **changes: Any) -> RangerAdmin:
    """Read `[policies]` with the admin's login over plain http, but for what is given."""
    table = {"admin": url, "user": USER, "password": PASSWORD, "allow_plaintext_credentials": True}
    merged = {key: value for key, value in (table | changes).items() if value is not None}
    return Reader().read(RangerAdmin, merged, "policies")


@contextmanager
def admin(context: ssl.SSLContext | None = None) -> Iterator[Admin]:
    """Serve an Admin; with a context, by https."""
    made = Admin()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"made": made}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # of a client that ends a handshake
    made.url = f"http://127.0.0.1:{server.server_port}"
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        made.url = made.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    made: Admin

    def _go(self) -> None:
        found = urlparse(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(size)) if size else None
        self.made.asked.append(f"{self.command} {found.path}")
        self.made.authorizations.append(self.headers.get("Authorization"))
        if self.made.down:
            return self._answer(self.made.down, None)
        path = unquote(found.path)
        # Plugins without Kerberos download unasked; people sign in.
        if path.startswith("/service/public/") and not _is_known(self.made, self.headers):
            return self._answer(401, {"statusCode": 1, "msgDesc": "Authentication Failed"})
        return self._answer(*answer(self.made, self.command, path, parse_qs(found.query), content))

    def do_GET(self) -> None:
        self._go()

    def do_POST(self) -> None:
        self._go()

    def do_PUT(self) -> None:
        self._go()

    def do_DELETE(self) -> None:
        self._go()

    def _answer(self, status: int, content: Any) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        empty = status in (204, 304)
        self.send_response(status)
        if not empty:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not empty:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _is_known(made: Admin, headers: Any) -> bool:
    token = base64.b64encode(f"{USER}:{made.password}".encode()).decode()
    return headers.get("Authorization") == f"Basic {token}"


def answer(
    made: Admin, method: str, path: str, query: dict[str, list[str]], content: Any
) -> tuple[int, Any]:
    """The status and content of an answer."""
    if found := re.fullmatch(
        r"/service/(?:plugins/(?:secure/)?policies|roles)/download/(.+)", path
    ):
        return _download(made, path, found[1], query)
    rest = path.removeprefix(_API)
    if method == "POST":
        return _create(made, rest, content)
    if found := re.fullmatch(r"/service/(.+)/policy", rest):
        return (200, made.policies) if found[1] in made.services else (404, None)
    if found := re.fullmatch(r"/policy/(\d+)", rest):
        return _policy(made, method, int(found[1]), content)
    for kind, known in (("service", made.services), ("servicedef", made.definitions)):
        name = rest.removeprefix(f"/{kind}/name/")
        if name in known:
            return 200, known[name]
    return 404, _said("Data not found")


def _download(made: Admin, path: str, service: str, query: dict[str, list[str]]) -> tuple[int, Any]:
    if service not in made.services:
        return 404, f'"RANGER_ERROR_SERVICE_NOT_FOUND: ServiceName={service}"'
    if "/roles/" in path:
        return 304, None
    known = int(query.get("lastKnownVersion", ["-1"])[0])
    return (304, None) if known >= made.version else (200, made.downloaded(service))


def _create(made: Admin, what: str, content: Any) -> tuple[int, Any]:
    if what == "/servicedef":
        made.definitions[content["name"]] = content
        return 200, content
    if what == "/service":
        made.add_service(content["name"], made.definitions[content["type"]])
        return 200, made.services[content["name"]]
    if any(policy["name"] == content["name"] for policy in made.policies):
        return 400, _said(f"(0) Another policy already exists for this name: [{content['name']}]")
    return 200, made.add(content)


def _policy(made: Admin, method: str, number: int, content: Any) -> tuple[int, Any]:
    known = next((policy for policy in made.policies if policy["id"] == number), None)
    if known is None:
        return 404, _said("Data not found")
    if method == "DELETE":
        made.policies.remove(known)
        made.version += 1
        return 204, None
    if method == "PUT":
        version = known["version"] + 1
        kept = {"id": number, "guid": known["guid"], "version": version}
        made.policies[made.policies.index(known)] = known = {**_filled(content), **kept}
        made.version += 1
    return 200, known


def _said(text: str) -> dict[str, Any]:
    return {"statusCode": 1, "msgDesc": text}
