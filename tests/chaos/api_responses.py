"""Calls the API with values of persons, and searches its responses and its log for them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx

from ..stack.test_api import Api, alert, forecast, run_api
from .canaries import PORTAL, WAREHOUSE, Person, values_of
from .harness import Harness
from .search import Finding, Search

_PROFILE = f"/v1/profiles/{WAREHOUSE[0].key}"
_CONFIG = """
[log]
level = "debug"
[api.clients.stranger]
subject = "stranger"
scopes = ["eligibility:read", "forecasts:read", "profiles:read"]
group = "strangers"
"""


def search_responses(harness: Harness, search: Search, folder: Path) -> Iterator[Finding]:
    """Search each response and the log of an API that runs in `folder`.

    The API uses the policies in `folder` if there are any, otherwise the repository's.
    """
    with run_api(harness.stack, folder, _CONFIG) as api:
        responses = _record_responses(api.client)
        person = WAREHOUSE[0]
        profile = api.client.get(_PROFILE)
        _send_writes(api, person)
        _send_reads(api.client, person)
        token = api.token(sub="stranger", scope="eligibility:read forecasts:read profiles:read")
        for bearer in (token, person.email):
            with _client_with_token(api, bearer) as client:
                _send_reads(client, person)
    assert person.name in profile.text  # The policies permit the name for the portal.
    missing = {200, 202, 401, 403, 404, 422} - {response.status_code for response in responses}
    assert not missing, f"no response with status {missing}"
    masked = Search(values_of(WAREHOUSE, Person.masked_values))
    for response in responses:
        content = repr(response.headers.raw).encode() + response.content
        matching_search = masked if _is_own_profile(response) else search
        place = f"API {response.request.method} {response.status_code}"
        yield from matching_search.find_in_bytes(place, content)
    yield from search.find_in_files(folder, excluded=["ranger-policies"])


def copy_unmasked_policies(policies: Path, folder: Path) -> None:
    """Copy the policies without the mask of a golden record's Jan Aadhaar."""
    copy = folder / policies.name
    shutil.copytree(policies, copy)
    file = copy / "policies.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    (policy,) = (
        policy for policy in document["policies"] if policy["name"] == "golden record: Jan Aadhaar"
    )
    for item in policy["dataMaskPolicyItems"]:
        item["dataMaskInfo"] = {"dataMaskType": "MASK_NONE"}
    file.write_text(json.dumps(document), encoding="utf-8")


def _record_responses(client: httpx.Client) -> list[httpx.Response]:
    """Return a list to which each further response of the client is appended."""
    responses: list[httpx.Response] = []

    def append(response: httpx.Response) -> None:
        response.read()
        responses.append(response)

    client.event_hooks = {"response": [append]}
    return responses


def _client_with_token(api: Api, token: str) -> httpx.Client:
    """Return another client, whose responses are recorded, too."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=api.url, headers=headers, event_hooks=api.client.event_hooks)


def _is_own_profile(response: httpx.Response) -> bool:
    """Whether the response goes to the client that may read a name and a birth date."""
    return "X-API-Key" in response.request.headers and response.url.path == _PROFILE


def _send_reads(client: httpx.Client, person: Person) -> None:
    """Request existing and missing resources."""
    for path in (
        f"families/{person.key}/eligibility",
        f"families/{person.key}/forecast",
        f"families/{person.aadhaar}/forecast",
        f"profiles/{person.key}",
        f"profiles/{PORTAL[0].key}",
        f"profiles/{person.aadhaar}",
        f"profiles/{person.name}?of={person.email}",
    ):
        client.get(f"/v1/{path}")
    for path in ("healthz", "readyz", "openapi.json", "docs", person.mobile):
        client.get(f"/{path}")


def _send_writes(api: Api, person: Person) -> None:
    """Send callbacks that the API accepts, and invalid ones."""
    accepted = alert(message=person.free_text(), family_id=person.key)
    api.post("alerts", accepted)
    api.post("alerts/bulk", [accepted, alert(severity=person.describe())])
    api.post("alerts", alert(message=person.free_text(), alert_type="x" * 51))
    api.post("alerts", alert(severity=person.describe()))
    api.post("forecasts", forecast(9_100, projections=person.describe()))
    api.post("forecasts/bulk", [forecast(9_101, family_id=person.aadhaar)])
    api.post("forecasts", {person.aadhaar: person.email})
    api.client.post("/v1/alerts", content=person.describe().encode())
    api.post("alerts", alert(), **{"Idempotency-Key": person.describe()})
    api.client.put(f"/v1/profiles/{person.key}", json={"name": person.name})
    api.client.get(f"/v1/profiles/{person.key}", headers={"X-API-Key": person.aadhaar})
