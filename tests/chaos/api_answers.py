"""Everything that the API answers and logs while it is called with people's values."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx

from ..stack.test_api import Api, alert, forecast, serving
from .canaries import PORTAL, WAREHOUSE, Person, of
from .ground import Ground
from .search import Find, Search

_PROFILE = f"/v1/profiles/{WAREHOUSE[0].key}"
_MORE = """
[log]
level = "debug"
[api.clients.stranger]
subject = "stranger"
scopes = ["eligibility:read", "forecasts:read", "profiles:read"]
group = "strangers"
"""


def search_answers(ground: Ground, search: Search, folder: Path) -> Iterator[Find]:
    """Look through each answer, and then through the log, of an API that lives in `folder`.

    Policies that lie there are used in place of the repository's.
    """
    with serving(ground.stack, folder, _MORE) as api:
        answers = _recorded(api.client)
        person = WAREHOUSE[0]
        shown = api.client.get(_PROFILE)
        _write(api, person)
        _read(api.client, person)
        token = api.token(sub="stranger", scope="eligibility:read forecasts:read profiles:read")
        for bearer in (token, person.email):
            with _bearing(api, bearer) as client:
                _read(client, person)
    assert person.name in shown.text  # as the policies have it for the portal
    missing = {200, 202, 401, 403, 404, 422} - {answer.status_code for answer in answers}
    assert not missing, f"no answer with status {missing}"
    masked = Search(of(WAREHOUSE, Person.masked))
    for answer in answers:
        told = repr(answer.headers.raw).encode() + answer.content
        fitting = masked if _is_own_profile(answer) else search
        where = f"API {answer.request.method} {answer.status_code}"
        yield from fitting.in_bytes(where, told)
    yield from search.in_files(folder, without=["ranger-policies"])


def without_mask(policies: Path, folder: Path) -> None:
    """Copy the policies into a folder, but show the Jan Aadhaar of a golden record."""
    place = folder / policies.name
    shutil.copytree(policies, place)
    file = place / "policies.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    (policy,) = [one for one in document["policies"] if one["name"] == "golden record: Jan Aadhaar"]
    for item in policy["dataMaskPolicyItems"]:
        item["dataMaskInfo"] = {"dataMaskType": "MASK_NONE"}
    file.write_text(json.dumps(document), encoding="utf-8")


def _recorded(client: httpx.Client) -> list[httpx.Response]:
    """Every answer that this client gets from now on."""
    answers: list[httpx.Response] = []

    def keep(answer: httpx.Response) -> None:
        answer.read()
        answers.append(answer)

    client.event_hooks = {"response": [keep]}
    return answers


def _bearing(api: Api, token: str) -> httpx.Client:
    """Another caller, whose answers are kept as well."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=api.url, headers=headers, event_hooks=api.client.event_hooks)


def _is_own_profile(answer: httpx.Response) -> bool:
    """Whether it is of the caller who may see a name and a birth date."""
    return "X-API-Key" in answer.request.headers and answer.url.path == _PROFILE


def _read(client: httpx.Client, person: Person) -> None:
    """What exists and what does not."""
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


def _write(api: Api, person: Person) -> None:
    """Callbacks that are taken, and requests that are refused for what they hold."""
    taken = alert(message=person.told(), family_id=person.key)
    api.post("alerts", taken)
    api.post("alerts/bulk", [taken, alert(severity=person.whole())])
    api.post("alerts", alert(message=person.told(), alert_type="x" * 51))
    api.post("alerts", alert(severity=person.whole()))
    api.post("forecasts", forecast(9_100, projections=person.whole()))
    api.post("forecasts/bulk", [forecast(9_101, family_id=person.aadhaar)])
    api.post("forecasts", {person.aadhaar: person.email})
    api.client.post("/v1/alerts", content=person.whole().encode())
    api.post("alerts", alert(), **{"Idempotency-Key": person.whole()})
    api.client.put(f"/v1/profiles/{person.key}", json={"name": person.name})
    api.client.get(f"/v1/profiles/{person.key}", headers={"X-API-Key": person.aadhaar})
