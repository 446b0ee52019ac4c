"""`sink-runner plugins`: the status of each plugin and the reason for it."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytestmark = pytest.mark.usefixtures("configured")

CONFIGURED = """
from dataclasses import dataclass, field
from sink_runner.plugin import hookimpl

@dataclass(frozen=True)
class Settings:
    limit: int = field(default=5, metadata={"doc": "How many."})
    pin: str = field(default="", repr=False)

@hookimpl
def sink_config():
    return Settings

@hookimpl
def sink_filter(event):
    ...
"""
HOOKS = "from sink_runner.plugin import hookimpl\n"


def line_of(name: str, text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line


# -- status ------------------------------------------------------------------------------------


def read_statuses(call, *argv: str) -> dict[str, str]:
    code, out, err = call("plugins", "--json", *argv)
    assert (code, err) == (0, "")
    records = [record for record in json.loads(out) if record["name"] in ("apples", "pears")]
    return {record["name"]: record["status"] for record in records}


def test_plugin_can_be_disabled_in_three_ways(site, call, configured, monkeypatch):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples", "pears")
    assert read_statuses(call) == {"apples": "on", "pears": "on"}
    assert read_statuses(call, "--without", "pears") == {"apples": "on", "pears": "off"}
    monkeypatch.setenv("SINK_PLUGINS_OFF", "apples")
    assert read_statuses(call) == {"apples": "off", "pears": "on"}
    monkeypatch.delenv("SINK_PLUGINS_OFF")
    configured("apples", "pears", disabled=("apples",))
    assert read_statuses(call) == {"apples": "off", "pears": "on"}


def test_command_line_overrides_environment_overrides_file(site, call, configured, monkeypatch):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples")
    monkeypatch.setenv("SINK_PLUGINS", "pears")
    assert read_statuses(call) == {"apples": "off", "pears": "on"}
    assert read_statuses(call, "--only", "apples") == {"apples": "on", "pears": "off"}


@pytest.fixture
def runner():
    """The port of a runner's health server, which reports the mapping pears as running."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            body = {"ready": True, "mappings": {"pears": {"state": "running"}}}
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_differences_to_running_runner_are_reported(site, call, configured, runner):
    site.mapping("apples")
    site.mapping("pears")
    path = configured("apples", "pears")
    path.write_text(f"{path.read_text()}\n[health]\nport = {runner}\n")
    code, out, _ = call("plugins", "--wide", "--without", "pears")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    after = {line.split()[0]: lines[n + 1 :][:1] for n, line in enumerate(lines) if line}
    assert after["apples"] == [
        "not running: off in the running runner, which was started with other settings: restart it"
    ]
    assert after["pears"] == [
        "running: on in the running runner, which was started with other settings: restart it"
    ]
    _, out, _ = call("plugins", "--only", "pears")
    assert "other settings" not in out


def test_environment_selects_plugins_without_file(site, call, tmp_path, monkeypatch):
    site.mapping("pears")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SINK_CONFIG", raising=False)
    monkeypatch.setenv("SINK_PLUGINS", "pears")
    assert read_statuses(call)["pears"] == "on"
    monkeypatch.setenv("SINK_PLUGINS_OFF", "pears")
    assert read_statuses(call)["pears"] == "off"


def test_disabled_takes_precedence_over_enabled(site, call, configured):
    site.mapping("apples")
    site.mapping("pears")
    configured("pears", disabled=("apples",))
    assert read_statuses(call, "--only", "apples,pears") == {"apples": "off", "pears": "on"}


def test_env_file_selects_plugins(site, call, configured, tmp_path):
    site.mapping("apples")
    site.mapping("pears")
    path = configured("apples", "pears")
    path.write_text('env_file = "stack.env"\n' + path.read_text())
    (tmp_path / "stack.env").write_text("SINK_PLUGINS_OFF=apples\n")
    assert read_statuses(call) == {"apples": "off", "pears": "on"}


@pytest.mark.parametrize("option", ["only", "without"])
def test_misspelt_name_is_reported_with_nearest(site, call, option):
    site.mapping("apples")
    code, out, err = call("plugins", f"--{option}", "aples")
    assert (code, out) == (78, "")
    assert re.fullmatch(
        r"sink-runner: \w+ plugin 'aples' is not installed; did you mean 'apples'\?\n", err
    )


def test_disabled_plugin_is_not_imported(site, call, configured):
    site.plugin("pears", "raise RuntimeError")
    configured("*", disabled=("pears",))
    _, out, _ = call("plugins")
    assert line_of("pears", out).split() == ["pears", "off"]
    assert not site.was_imported("pears")


def test_broken_enabled_plugin_exits_with_78(site, call, configured):
    site.mapping("apples")
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert line_of("pears", out).split()[:2] == ["pears", "broken"]
    assert "    fault: ModuleNotFoundError: No module named 'nope_nope'" in out
    assert line_of("apples", out).split() == [*("apples", "on", "south.public.apples")]


def test_incompatible_plugin_fails_only_if_enabled(site, call, configured):
    site.plugin("pears", "raise RuntimeError", group="sink_runner.v2")
    code, out, _ = call("plugins")
    assert code == 0
    assert line_of("pears", out).split()[:2] == ["pears", "incompatible"]
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "fault: is made for sink_runner.v2" in out


def test_two_distributions_of_plugin_exit_with_78(site, call, configured):
    site.mapping("pears")
    site.plugin("pears", "", dist="other-pears")
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "two distributions provide it, other-pears 1.5 and sink-pears 1.5" in out


def test_json_has_all_fields(site, call, configured):
    site.mapping("apples")
    configured("apples")
    _, out, _ = call("plugins", "--json")
    (record,) = [record for record in json.loads(out) if record["name"] == "apples"]
    assert record == {
        "name": "apples",
        "status": "on",
        "distribution": "sink-apples",
        "version": "1.5",
        "source": "north.public.apples",
        "target": "south.public.apples",
        "events": True,
        "hooks": ["sink_mapping"],
        "errors": [],
        "state": None,
        "reason": None,
    }


def test_plugins_are_listed_without_configuration_file(site, call, configured, monkeypatch):
    site.mapping("apples")
    configured().unlink()
    monkeypatch.setenv("SINK_PLUGINS", "apples")
    code, out, _ = call("plugins")
    assert code == 0
    assert line_of("apples", out).split()[1] == "on"


# -- chain and settings ------------------------------------------------------------------------


def test_chain_is_printed_in_order_of_steps(site, call, configured):
    site.mapping("apples", code="\n@hookimpl\ndef sink_map(row): return row")
    site.plugin("zebra", HOOKS + "@hookimpl(tryfirst=True)\ndef sink_map(row): return row")
    site.plugin("ant", HOOKS + "@hookimpl\ndef sink_filter(event): ...")
    configured("apples", "zebra", "ant")
    code, out, _ = call("plugins", "--chain", "apples")
    assert code == 0
    *head, steps = out.split("\n", 3)
    assert head == ["apples:", "    north.public.apples ->", "    south.public.apples"]
    printed = [" ".join(step.split()[1:]) for step in steps.splitlines()]
    assert printed[:6] == [
        "(built in) drop echoes of the runner's own writes",
        "sink_filter ant",
        "(built in) read 1 declared columns: source, convert, default",
        "sink_map zebra, apples",
        "(built in) mask by policy, cut to max_length",
        "sink_mask -",
    ]
    assert "(built in) write, source wins" in printed


RULES = """
from dataclasses import replace
from sink_runner.plugin import Rule

def add_rules(mapping):
    columns = (Column("id", minimum=1), Column("size"))
    rules = (Rule("even", lambda row: row["size"] % 2 == 0, ("size",)),)
    declared = replace(mapping(), columns=columns, rules=rules)
    return hookimpl(lambda: declared, specname="sink_mapping")

sink_mapping = add_rules(sink_mapping)
"""


def test_chain_names_columns_of_rules(site, call, configured):
    site.mapping("apples", code=RULES)
    configured("apples")
    _, out, _ = call("plugins", "--chain", "apples")
    steps = [line.split(")", 1)[-1].strip() for line in out.splitlines()]
    at = steps.index("check the row: even")
    assert steps[at + 1] == "read 2 declared columns: source, convert, default"
    assert steps[at + 2] == "check, here and after sink_map: id"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pears", "plugin 'pears' is off; see `sink-runner plugins`"),
        ("aples", "plugin 'aples' is not installed; did you mean 'apples'?"),
        ("ant", "plugin 'ant' is global: it joins the chain of every mapping"),
        ("bad", "plugin 'bad': implements no hook: decorate a function with @hookimpl"),
    ],
)
def test_chain_needs_enabled_mapping(site, call, configured, name, message):
    site.mapping("apples")
    site.mapping("pears")
    site.plugin("ant", HOOKS + "@hookimpl\ndef sink_filter(event): ...")
    site.plugin("bad", "")
    configured("apples", "ant", "bad")
    assert call("plugins", "--chain", name) == (78, "", f"sink-runner: {message}\n")


def test_settings_of_plugin_are_printed_without_secrets(site, call, configured):
    site.plugin("ant", CONFIGURED)
    configured("ant", more='[plugins.ant]\nlimit = 7\npin = "hunter2"')
    code, out, _ = call("plugins", "--config-of", "ant")
    assert code == 0
    assert out.splitlines() == [
        "plugins.ant.limit  (an integer, default 5)",
        "    # How many.",
        "    plugins.ant.limit = 7",
        'plugins.ant.pin  (a string, default "")',
        "    plugins.ant.pin = ***",
    ]


def test_batch_only_mapping_is_marked(site, call, configured):
    site.mapping("apples")
    site.nightly("nightly")
    configured("apples", "nightly")
    _, out, _ = call("plugins")
    assert out.count("\n    batch only") == 1
    assert line_of("nightly", out) + "\n    batch only" in out
