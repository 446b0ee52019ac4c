"""`sink-runner policies`: check, show, pull and push."""

import json
import shutil

import pytest

from ...stack.ranger.cases import DEFINITION, OWN
from ...support.ranger_admin import PASSWORD, USER, admin

PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.public.golden_records", target="smart_citizen.public.profile_data",
        key=("record_id",), conflict=source_wins(),
        columns=(Column("record_id", "gr_id"), {columns}),
    )
"""
MASKED = 'Column("jan_aadhaar"), Column("city", "city_village"), Column("district_id")'


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(OWN, tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture
def ranger():
    with admin() as ranger:
        yield ranger


@pytest.fixture
def policies(call, configured, folder, ranger, site):
    """Return a function that runs the command with one mapping of the given columns."""

    def run(*argv, columns=MASKED, url=None, more=""):
        if not (site.folder / "sink_people_people_for_tests.py").exists():
            site.plugin("people", PLUGIN.format(columns=columns))
        settings = (
            f'\n[policies]\ndirectory = "{folder}"\nadmin = "{ranger.url if url is None else url}"'
            f'\nuser = "{USER}"\npassword = "{PASSWORD}"\nallow_plaintext_credentials = true'
            f"\n{more}\n"
        )
        configured("people", more=settings)
        return call("policies", *argv)

    return run


def edit_policies(folder, change):
    path = folder / "policies.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# -- check -------------------------------------------------------------------------------------


def test_check_reports_no_faults(policies):
    code, out, _ = policies("check")
    assert code == 0
    assert out.startswith("version 1 (")
    assert out.endswith("17 policies, 1 mappings, 0 faults, 0 warnings\n")


def test_check_names_personal_column_without_policy(policies):
    code, out, _ = policies("check", columns='Column("age")')
    assert code == 1
    assert "mapping 'people': smart_warehouse.public.golden_records.age is classified BIRTH" in out


def test_check_warns_of_personal_columns_unless_strict(policies):
    columns = 'Column("nickname")'
    code, out, _ = policies("check", columns=columns)
    assert code == 0
    assert "golden_records.nickname looks personal and is not classified" in out
    code, out, _ = policies("check", "--strict", "--json")
    assert code == 1
    assert len(json.loads(out)["warnings"]) == 2  # the source's column and the target's


def test_check_refuses_ambiguous_policies(policies, folder):
    def copy_first(content):
        first = content["policies"][0]
        item = first["dataMaskPolicyItems"][0] | {"dataMaskInfo": {"dataMaskType": "MASK_NONE"}}
        copy = {**first, "id": 99, "name": "other", "dataMaskPolicyItems": [item]}
        content["policies"].append(copy)

    edit_policies(folder, copy_first)
    code, _, err = policies("check")
    assert code == 78
    assert "policies 1 (golden record: Jan Aadhaar) and 99 (other) decide differently" in err


def test_check_takes_key_of_hash_from_configuration(policies, folder):
    """The key may be in another file, as for the runner."""

    def use_hash(content):
        content["policies"][0]["dataMaskPolicyItems"][0]["dataMaskInfo"] = {
            "dataMaskType": "MASK_HASH"
        }

    edit_policies(folder, use_hash)
    code, _, err = policies("check")
    assert code == 78
    assert "policies.key" in err
    (folder / "key").write_text("k" * 32)
    code, _, err = policies("check", more=f'key = {{ file = "{folder}/key" }}')
    assert (code, err) == (0, "")


# -- show --------------------------------------------------------------------------------------


def test_show_lists_personal_columns_with_mask_and_policy(policies):
    code, out, _ = policies("show", "--json")
    assert code == 0
    number, city = json.loads(out)
    assert number == {
        "mapping": "people",
        "source": "smart_warehouse.public.golden_records.jan_aadhaar",
        "target": "smart_citizen.public.profile_data.jan_aadhaar",
        "user": None,
        "groups": ["smart_citizen"],
        "tags": ["AADHAAR"],
        "seen": "show_last({col}, 4, '****-****-')",
        "mask": "CUSTOM",
        "expression": "show_last({col}, 4, '****-****-')",
        "policy_id": 1,
        "policy_version": 1,
        "fault": None,
    }
    assert (city["seen"], city["policy_id"]) == ("MASK_NONE", 4)


def test_show_all_lists_columns_that_are_not_personal(policies):
    code, out, _ = policies("show", "--all", "--json", "people")
    assert [line["seen"] for line in json.loads(out)][::3] == ["as it is", "as it is"]
    assert code == 0


@pytest.mark.parametrize(
    ("option", "seen"),
    [
        (("--user", "portal-operator"), ["show_last({col}, 4, '****-****-')", "MASK_NONE"]),
        (("--user", "stranger"), ["hidden", "hidden"]),
        (("--group", "smart_citizen"), ["show_last({col}, 4, '****-****-')", "MASK_NONE"]),
        (("--group", "analysts"), ["hidden", "hidden"]),
    ],
)
def test_show_accepts_another_user_or_group(policies, option, seen):
    _, out, _ = policies("show", "--json", *option)
    assert [line["seen"] for line in json.loads(out)] == seen


@pytest.mark.parametrize(("text", "found"), [("aadhaar", 1), ("CITY*", 1), ("x", 0), ("c*y", 1)])
def test_show_finds_columns_by_name(policies, text, found):
    _, out, _ = policies("show", "--json", "--column", text)
    assert len(json.loads(out)) == found


def test_show_prints_table(policies):
    code, out, _ = policies("show", "--wide")
    assert code == 0
    for word in ("mapping", "sees", "policy", "people", "1 v1"):
        assert word in out


@pytest.mark.parametrize("constant", ["[redacted]", "[/]", "[b]x[/b]", ":cat:"])
def test_show_prints_constant_literally(policies, folder, constant):
    def hide_all(content):
        mask = {"dataMaskType": "CUSTOM", "valueExpr": f"'{constant}'"}
        content["policies"][0]["dataMaskPolicyItems"][0]["dataMaskInfo"] = mask

    edit_policies(folder, hide_all)
    code, out, err = policies("show", "--column", "aadhaar")
    assert (code, err) == (0, "")
    assert constant in out


def test_show_refuses_disabled_mapping(policies):
    code, _, err = policies("show", "peple")
    assert code == 78
    assert "'peple' is off" in err


# -- push and pull -----------------------------------------------------------------------------


def test_pull_returns_versions_after_push(policies, ranger, folder):
    code, out, _ = policies("push", "--yes")
    assert code == 0
    assert "create service 'sink_prod'" in out
    assert len(ranger.policies) == 1 + 17
    assert ranger.definitions["sink"] == DEFINITION
    code, out, _ = policies("push")
    assert (code, out) == (0, "Ranger's masking policies say the same\n")
    code, out, _ = policies("pull", "--yes")
    assert code == 0
    assert out.startswith("no policy says anything else") or "all - database" in out
    assert json.loads((folder / "policies.json").read_text()) == ranger.download("sink_prod")
    assert policies("check")[0] == 0
    assert policies("push")[1] == "Ranger's masking policies say the same\n"


def test_push_needs_confirmation_after_preview(policies, ranger, folder):
    policies("push", "--yes")
    edit_policies(folder, lambda content: content["policies"][0].update(description="other words"))
    before = len(ranger.requests)
    code, out, _ = policies("push", "--dry-run")
    assert code == 0
    assert "update policy 'golden record: Jan Aadhaar'" in out
    assert '+  "description": "other words",' in out.splitlines()
    code, _, err = policies("push")  # stdin is not a terminal
    assert code == 78
    assert "--yes" in err
    assert {line.split()[0] for line in ranger.requests[before:]} == {"GET"}
    assert policies("push", "--yes")[0] == 0
    (changed,) = [policy for policy in ranger.policies if policy["version"] == 2]
    assert changed["description"] == "other words"


def test_push_deletes_only_with_option(policies, ranger, folder):
    policies("push", "--yes")
    edit_policies(folder, lambda content: content["policies"].pop())
    assert "only in Ranger, and left there: 'forecast: projections" in policies("push", "--yes")[1]
    assert len(ranger.policies) == 1 + 17
    assert policies("push", "--yes", "--delete")[0] == 0
    assert len(ranger.policies) == 1 + 16


def test_push_sends_no_invalid_policy(policies, ranger, folder):
    edit_policies(folder, lambda content: content["policies"][0].update(polcyPriority=1))
    code, _, err = policies("push", "--yes")
    assert code == 78
    assert "polcyPriority" in err
    assert ranger.requests == []


@pytest.mark.parametrize("spoil", ["denied", "incomplete", "unavailable"])
def test_pull_keeps_folder_if_download_is_unusable(policies, ranger, folder, spoil):
    policies("push", "--yes")
    before = (folder / "policies.json").read_bytes()
    match spoil:
        case "denied":
            ranger.policies[0]["denyPolicyItems"] = [{"users": ["x"]}]
        case "incomplete":  # valid, but without a policy of a column of the mapping
            ranger.policies = [
                policy for policy in ranger.policies if policy["name"] != "golden record: identity"
            ]
        case "unavailable":
            ranger.failure_status = 503
    code, out, err = policies("pull", "--yes")
    assert code in (1, 78)
    assert "replaced" not in out
    expected = {
        "denied": "denyPolicyItems",
        "incomplete": "city_village",
        "unavailable": "unavailable",
    }
    assert expected[spoil] in err
    assert (folder / "policies.json").read_bytes() == before


def test_pull_with_dry_run_changes_nothing(policies, ranger, folder):
    policies("push", "--yes")
    before = (folder / "policies.json").read_bytes()
    ranger.policies[1]["description"] = "changed in Ranger"
    code, out, _ = policies("pull", "--dry-run")
    assert code == 0
    assert "changed in Ranger" in out
    assert (folder / "policies.json").read_bytes() == before


def test_pull_and_push_need_url(policies):
    for command in ("pull", "push"):
        code, _, err = policies(command, url="")
        assert code == 78
        assert "policies.admin is not set" in err


@pytest.mark.parametrize("command", ["check", "show", "pull", "push"])
def test_help_has_examples(call, command):
    code, out, _ = call("policies", command, "--help")
    assert code == 0
    assert f"  sink-runner policies {command}" in out.split("examples:")[1]


@pytest.mark.parametrize(
    "content",
    [
        {"policyVersion": 1},
        {"policyVersion": 1, "policies": None},
        {"policyVersion": 1, "policies": [{}, 7]},
    ],
    ids=str,
)
def test_pull_repairs_invalid_folder(policies, ranger, folder, content):
    policies("push", "--yes")
    (folder / "policies.json").write_text(json.dumps({"serviceName": "sink_prod", **content}))
    code, _, err = policies("pull", "--yes")
    assert (code, err) == (0, "")
    assert json.loads((folder / "policies.json").read_text()) == ranger.download("sink_prod")


@pytest.mark.parametrize("content", [{}, {"serviceName": 7}, {"serviceName": ""}], ids=str)
def test_pull_needs_service_name(policies, folder, content):
    (folder / "policies.json").write_text(json.dumps(content))
    code, _, err = policies("pull", "--yes")
    assert code == 78
    assert "policies.json: serviceName must be given" in err


@pytest.mark.parametrize("url", ["http://[::1", "nonsense", "http://", "http://x:99999"])
def test_invalid_url_is_reported(policies, url):
    code, _, err = policies("pull", "--yes", url=url)
    assert code == 78
    assert "policies: admin: expected http://host:port" in err
    assert len(err.splitlines()) == 1
