"""Policies are exchanged with Ranger Admin without loss, through Ranger's own client."""

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
    with admin() as ranger:
        yield ranger


@pytest.fixture
def client(ranger):
    return connect(admin_settings(ranger.url), SERVICE)


@pytest.fixture
def served(ranger):
    """A Ranger Admin with this project's service and policies."""
    ranger.add_service(SERVICE, DEFINITION)
    for policy in OURS["policies"]:
        ranger.add(policy)
    return ranger


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(OWN, tmp_path / "policies")
    return tmp_path / "policies"


# Fields that the models of Ranger's client drop or change.
EXTRA_FIELDS = {
    "validitySchedules": [
        {"timeZone": "UTC", "recurrences": [{"schedule": {"hour": "9"}, "interval": {"hours": 8}}]}
    ],
    "additionalResources": [{"table": {"values": ["x"]}}],
    "policyLabels": ["personal"],
    "somethingNew": {"deep": [{"er": [1, 2.5, None, False]}]},
    "options": {"POLICY_VALIDITY_SCHEDULES": "kept"},
    "description": "नाम — Ünïcode",
}


def test_no_field_is_lost_in_exchange(served, client):
    """The client exchanges plain JSON: its models know neither these fields nor their order."""
    sent = {
        **OURS["policies"][0],
        "name": "extra",
        "isEnabled": False,
        "service": SERVICE,
        **EXTRA_FIELDS,
    }
    stored = client.create(sent)
    for policy in (stored, client.policies()[-1], client.download()["policies"][-1]):
        assert {name: policy[name] for name in EXTRA_FIELDS} == EXTRA_FIELDS
    changed = {**stored, "description": "other"}
    assert client.update(stored["id"], changed)["somethingNew"] == EXTRA_FIELDS["somethingNew"]


def test_models_of_ranger_client_lose_fields():
    """The reason why they are not used; if this test fails, they can be."""
    from apache_ranger.model.ranger_policy import RangerPolicy  # noqa: PLC0415
    from apache_ranger.utils import type_coerce  # noqa: PLC0415

    modelled = json.loads(json.dumps(type_coerce(copy.deepcopy(EXTRA_FIELDS), RangerPolicy)))
    assert "somethingNew" not in modelled
    assert "recurrences" not in str(modelled)


def test_current_version_is_not_downloaded_again(served, client):
    version = client.download()["policyVersion"]
    assert client.download(version) is None
    served.add({**OURS["policies"][0], "name": "another"})
    assert client.download(version)["policyVersion"] == version + 1


@pytest.mark.parametrize("status", [400, 404, 500, 302])
def test_error_contains_status_of_refusal(served, client, status, capsys):
    """Ranger's client returns None for 404, 503 and 304, and prints what it cannot parse."""
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


def test_unavailable_admin_is_transient_error(served, client):
    served.failure_status = 503
    with pytest.raises(RetriableError, match="unavailable"):
        client.download()
    closed = connect(admin_settings("http://127.0.0.1:9"), SERVICE)
    with pytest.raises(RetriableError, match="does not answer: ConnectionError"):
        closed.download()


def test_wrong_password_is_refused(served):
    with pytest.raises(AccessError, match=r"refuses user 'admin' .*401.*Authentication Failed"):
        connect(admin_settings(served.url, password="guess"), SERVICE).policies()


def test_unknown_service_is_an_error(ranger, client):
    with pytest.raises(PolicyError, match="404"):
        client.download()


def test_missing_url_is_configuration_error():
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
def test_change_is_an_update(served, client, change):
    theirs = client.policies()
    mine = [{**OURS["policies"][0], **change}, *OURS["policies"][1:]]
    (step,) = plan(mine, theirs)
    assert (step.action, step.name) == (Action.UPDATE, OURS["policies"][0]["name"])
    assert len(step.diff) > 2
    assert step.sent["guid"] == theirs[1]["guid"]


def test_only_default_values_are_ignored():
    assert normalized([{"isAllowed": False}]) != normalized([{}])
    assert normalized([{"level": 0}]) != normalized([{}])
    assert normalized({"isExcludes": False, "zoneName": "", "options": {}}) == {}


def test_one_sided_policies_are_created_or_kept(served, client):
    theirs = client.policies()
    created, kept = plan([{**OURS["policies"][0], "name": "new"}], theirs[:2])
    assert (created.action, kept.action) == (Action.DELETE, Action.CREATE)
    assert "all - " not in created.name + kept.name  # the access policy is not exchanged


# -- renewal of the folder ---------------------------------------------------------------------


def test_folder_follows_ranger(served, client, folder):
    renew = Renewal(folder, client)
    renew()
    assert json.loads((folder / "policies.json").read_text()) == client.download()
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


def test_invalid_policies_of_ranger_are_not_stored(served, client, folder):
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


def remove_policy(folder):
    """Change the folder, as a deployment with other policies does."""
    mine = json.loads((folder / "policies.json").read_text())
    mine["policies"] = mine["policies"][1:]
    (folder / "policies.json").write_text(json.dumps(mine))


@pytest.mark.parametrize(
    "spoil", [remove_policy, lambda folder: (folder / "policies.json").unlink()]
)
def test_changed_folder_is_written_again(served, client, folder, spoil):
    """Ranger answers that nothing is newer, which says nothing about the folder."""
    renew = Renewal(folder, client)
    renew()
    spoil(folder)
    renew()
    assert json.loads((folder / "policies.json").read_text()) == served.download(SERVICE)


def test_policies_in_use_ignore_changed_folder(served, client, folder):
    watch = PolicyWatch(folder, download=Renewal(folder, client))
    watch.look()
    digest = watch.current().digest
    remove_policy(folder)
    watch.look()
    assert watch.current().digest == digest


def test_changed_folder_is_not_used_during_outage(served, client, folder):
    watch = PolicyWatch(folder, download=Renewal(folder, client))
    watch.look()
    digest = watch.current().digest
    remove_policy(folder)
    served.failure_status = 503
    watch.look()
    assert watch.current().digest == digest
    served.failure_status = 0
    watch.look()
    assert json.loads((folder / "policies.json").read_text()) == served.download(SERVICE)
