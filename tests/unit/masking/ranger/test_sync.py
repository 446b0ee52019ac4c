"""Policies go to Ranger Admin and come back whole, through Ranger's own client."""

import copy
import json
import shutil

import pytest

from sink_runner.errors import AccessError, ConfigError, PolicyError, RetriableError
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.policy_watch import PolicyWatch
from sink_runner.masking.principals import group_principal
from sink_runner.masking.ranger.admin import connect
from sink_runner.masking.ranger.renewal import Renewal
from sink_runner.masking.ranger.sync import Action, load_with, normalized, plan, replace_policies

from ....stack.ranger.cases import DEFINITION, OWN
from ....support.ranger_admin import admin, admin_settings

SERVICE = "sink_prod"
OURS = json.loads((OWN / "policies.json").read_text())


@pytest.fixture
def ranger():
    with admin() as made:
        yield made


@pytest.fixture
def client(ranger):
    return connect(admin_settings(ranger.url), SERVICE)


@pytest.fixture
def served(ranger):
    """An Admin that has our service and our policies."""
    ranger.add_service(SERVICE, DEFINITION)
    for policy in OURS["policies"]:
        ranger.add(policy)
    return ranger


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(OWN, tmp_path / "policies")
    return tmp_path / "policies"


# What the client's own models would drop, or turn into something else.
RICH = {
    "validitySchedules": [
        {"timeZone": "UTC", "recurrences": [{"schedule": {"hour": "9"}, "interval": {"hours": 8}}]}
    ],
    "additionalResources": [{"table": {"values": ["x"]}}],
    "policyLabels": ["personal"],
    "somethingNew": {"deep": [{"er": [1, 2.5, None, False]}]},
    "options": {"POLICY_VALIDITY_SCHEDULES": "kept"},
    "description": "नाम — Ünïcode",
}


def test_nothing_is_dropped_on_way_there_and_back(served, client):
    """The JSON is the truth: the client's models know neither these fields nor their order."""
    sent = {**OURS["policies"][0], "name": "rich", "isEnabled": False, "service": SERVICE, **RICH}
    stored = client.create(sent)
    for found in (stored, client.policies()[-1], client.download()["policies"][-1]):
        assert {name: found[name] for name in RICH} == RICH
    changed = {**stored, "description": "other"}
    assert client.update(stored["id"], changed)["somethingNew"] == RICH["somethingNew"]


def test_client_models_would_have_dropped_some_of_it():
    """Why they are not used; if this fails, they have learnt."""
    from apache_ranger.model.ranger_policy import RangerPolicy  # noqa: PLC0415
    from apache_ranger.utils import type_coerce  # noqa: PLC0415

    modelled = json.loads(json.dumps(type_coerce(copy.deepcopy(RICH), RangerPolicy)))
    assert "somethingNew" not in modelled
    assert "recurrences" not in str(modelled)


def test_what_is_known_is_not_sent_again(served, client):
    version = client.download()["policyVersion"]
    assert client.download(version) is None
    served.add({**OURS["policies"][0], "name": "another"})
    assert client.download(version)["policyVersion"] == version + 1


@pytest.mark.parametrize("status", [400, 404, 500, 302])
def test_refusal_is_an_error_with_status(served, client, status, capsys):
    """To the client, 404 and 503 and 304 are all None, and it prints what it cannot parse."""
    served.failure_status = status
    for call in (client.download, client.policies):
        with pytest.raises(PolicyError, match=f"Ranger Admin answered {status} to GET"):
            call()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("status", [401, 403])
def test_refused_client_is_named_with_status(served, client, status, capsys):
    served.failure_status = status
    with pytest.raises(AccessError, match=rf"refuses user 'admin' \(status {status}\): check pol"):
        client.download()
    assert capsys.readouterr().out == ""


def test_an_admin_that_is_away_may_come_back(served, client):
    served.failure_status = 503
    with pytest.raises(RetriableError, match="unavailable"):
        client.download()
    closed = connect(admin_settings("http://127.0.0.1:9"), SERVICE)
    with pytest.raises(RetriableError, match="does not answer: ConnectionError"):
        closed.download()


def test_a_wrong_password_is_refused(served):
    with pytest.raises(AccessError, match=r"refuses user 'admin' .*401.*Authentication Failed"):
        connect(admin_settings(served.url, password="guess"), SERVICE).policies()


def test_unknown_service_is_refusal_and_no_empty_set(ranger, client):
    with pytest.raises(PolicyError, match="404"):
        client.download()


def test_no_url_is_fault_of_set_up():
    with pytest.raises(ConfigError, match=r"policies\.admin is not set"):
        connect(admin_settings(""), SERVICE)


# -- comparing ---------------------------------------------------------------------------------


def test_defaults_of_ranger_do_not_differ(served, client):
    assert plan(OURS["policies"], client.policies()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"isEnabled": False},
        {"policyPriority": 1},
        {"description": "other"},
        {"policyLabels": ["x"]},
        {"resources": {**OURS["policies"][0]["resources"], "table": {"values": ["y"]}}},
        {"dataMaskPolicyItems": []},
    ],
    ids=str,
)
def test_what_was_changed_is_found(served, client, change):
    theirs = client.policies()
    mine = [{**OURS["policies"][0], **change}, *OURS["policies"][1:]]
    (step,) = plan(mine, theirs)
    assert (step.action, step.name) == (Action.UPDATE, OURS["policies"][0]["name"])
    assert len(step.diff) > 2
    assert step.sent["guid"] == theirs[1]["guid"]


def test_denied_access_is_not_exported_as_allowed():
    assert normalized([{"isAllowed": False}]) != normalized([{}])
    assert normalized([{"level": 0}]) != normalized([{}])
    assert normalized({"isExcludes": False, "zoneName": "", "options": {}}) == {}


def test_one_sided_policies_are_created_or_kept(served, client):
    theirs = client.policies()
    created, kept = plan([{**OURS["policies"][0], "name": "new"}], theirs[:2])
    assert (created.action, kept.action) == (Action.DELETE, Action.CREATE)
    assert "all - " not in created.name + kept.name  # the access policy is Ranger's own affair


# -- following ---------------------------------------------------------------------------------


def test_the_folder_follows_what_ranger_says(served, client, folder):
    renew = Renewal(folder, client)
    renew()
    found = json.loads((folder / "policies.json").read_text())
    assert found == client.download()
    assert load_policies(folder).version == served.version
    before = (folder / "policies.json").stat().st_mtime_ns
    renew()
    assert (folder / "policies.json").stat().st_mtime_ns == before
    number = next(policy["id"] for policy in served.policies if "mobile" in policy["name"])
    changed = json.loads(json.dumps(OURS["policies"][1]))
    changed["dataMaskPolicyItems"][0]["dataMaskInfo"] = {"dataMaskType": "MASK_NULL"}
    client.update(number, changed)
    renew()
    mask = load_policies(folder).decide(
        ColumnName("smart_warehouse", "public", "golden_records", "mobile_number"),
        group_principal("smart_citizen"),
    )
    assert (mask.kind, mask.policy_version) == ("MASK_NULL", 2)


def test_invalid_policies_of_ranger_keep_the_folder(served, client, folder):
    before = (folder / "policies.json").read_bytes()
    served.add({**OURS["policies"][0], "name": "x", "denyPolicyItems": [{}], "policyType": 0})
    with pytest.raises(PolicyError, match=r"\(x\)"):
        Renewal(folder, client)()
    assert (folder / "policies.json").read_bytes() == before
    assert [path.name for path in folder.glob(".policies-*")] == []


def test_policies_are_validated_before_use(folder):
    assert load_with(folder, OURS | {"policyVersion": 77}).version == 77
    assert load_policies(folder).version == OURS["policyVersion"]
    replace_policies(folder, OURS | {"policyVersion": 77})
    assert load_policies(folder).version == 77
    assert (folder / "policies.json").stat().st_mode & 0o777 == 0o644


def drifted(folder):
    """As a deploy does that puts another set in place."""
    mine = json.loads((folder / "policies.json").read_text())
    mine["policies"] = mine["policies"][1:]
    (folder / "policies.json").write_text(json.dumps(mine))


@pytest.mark.parametrize("spoil", [drifted, lambda folder: (folder / "policies.json").unlink()])
def test_changed_folder_is_written_again(served, client, folder, spoil):
    """Ranger answers that nothing is newer, which says nothing about the folder."""
    renew = Renewal(folder, client)
    renew()
    spoil(folder)
    renew()
    assert json.loads((folder / "policies.json").read_text()) == served.download(SERVICE)


def test_policies_that_hold_are_ranger_whatever_folder_becomes(served, client, folder):
    watch = PolicyWatch(folder, download=Renewal(folder, client))
    watch.look()
    held = watch.current().digest
    drifted(folder)
    watch.look()
    assert watch.current().digest == held


def test_folder_is_not_used_while_ranger_is_away(served, client, folder):
    watch = PolicyWatch(folder, download=Renewal(folder, client))
    watch.look()
    held = watch.current().digest
    drifted(folder)
    served.failure_status = 503
    watch.look()
    assert watch.current().digest == held
    served.failure_status = 0
    watch.look()
    assert json.loads((folder / "policies.json").read_text()) == served.download(SERVICE)
