"""``sink-runner doctor``: its output and exit codes, without any server."""

import json

PORT_WITHOUT_SERVER = "host=127.0.0.1 port=1 dbname=d user=sink_writer"
POLICIES = '[policies]\ndirectory = "no-such-folder"\n'


def report(output: str, group: str) -> dict:
    return next(one for one in json.loads(output)["groups"] if one["group"] == group)


def test_unreadable_configuration_is_a_finding(configured, call) -> None:
    path = configured("one")
    path.write_text(path.read_text() + "unknown = 3\n")
    code, output, _ = call("doctor", "--json")
    assert code == 1
    (finding,) = report(output, "settings")["findings"]
    assert "unknown" in finding["problem"]


def test_unknown_mapping_is_wrong_usage(site, configured, call) -> None:
    site.mapping("one")
    configured("one")
    code, _, errors = call("doctor", "two")
    assert code == 2
    assert "'two' is not a mapping that is on" in errors
    assert "did you mean 'one'?" in call("doctor", "oen")[2]


def test_each_group_has_a_line(site, configured, call, monkeypatch) -> None:
    site.mapping("one", target="north.public.t")
    site.plugin("broken", "raise ValueError")
    configured("one", "broken", more=POLICIES)
    monkeypatch.setenv("NORTH", PORT_WITHOUT_SERVER)
    code, output, _ = call("doctor")
    assert code == 1
    heads = [line.split()[:2] for line in output.splitlines() if "checks passed" in line]
    assert ["refused", "plugins"] in heads
    assert ["refused", "database"] in heads
    assert ["refused", "policies"] in heads
    assert "to do: start PostgreSQL, or correct" in output
    assert "plugin 'broken' can't be used" in output


def test_named_mapping_leaves_out_others(site, configured, call, monkeypatch) -> None:
    for name in ("one", "two"):
        site.mapping(name, target=f"north.public.copy_of_{name}")
    configured("one", "two", more=POLICIES)
    monkeypatch.setenv("NORTH", PORT_WITHOUT_SERVER)
    _, output, _ = call("doctor", "two", "--json")
    names = [one["group"] for one in json.loads(output)["groups"]]
    assert "mapping two" in names
    assert "mapping one" not in names
