"""``sink-runner plugins``: what is on, off, broken, incompatible, and why."""

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


def ordering_key(name: str, text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line


# -- plugins: on and off -----------------------------------------------------------------------


def states(call, *argv: str) -> dict[str, str]:
    code, out, err = call("plugins", "--json", *argv)
    assert (code, err) == (0, "")
    known = [record for record in json.loads(out) if record["name"] in ("apples", "pears")]
    return {record["name"]: record["status"] for record in known}


def test_each_of_three_ways_turns_plugin_off(site, call, configured, monkeypatch):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples", "pears")
    assert states(call) == {"apples": "on", "pears": "on"}
    assert states(call, "--without", "pears") == {"apples": "on", "pears": "off"}
    monkeypatch.setenv("SINK_PLUGINS_OFF", "apples")
    assert states(call) == {"apples": "off", "pears": "on"}
    monkeypatch.delenv("SINK_PLUGINS_OFF")
    configured("apples", "pears", disabled=("apples",))
    assert states(call) == {"apples": "off", "pears": "on"}


def test_command_line_overrides_environment_overrides_file(site, call, configured, monkeypatch):
    site.mapping("apples")
    site.mapping("pears")
    configured("apples")
    monkeypatch.setenv("SINK_PLUGINS", "pears")
    assert states(call) == {"apples": "off", "pears": "on"}
    assert states(call, "--only", "apples") == {"apples": "on", "pears": "off"}


@pytest.fixture
def runner():
    """A runner's /readyz, with the mapping pears running."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            body = {"ready": True, "mappings": {"pears": {"state": "running"}}}
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_mappings_that_running_runner_has_otherwise_are_named(site, call, configured, runner):
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


def test_environment_turns_plugins_on_and_off_without_file(site, call, tmp_path, monkeypatch):
    site.mapping("pears")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SINK_CONFIG", raising=False)
    monkeypatch.setenv("SINK_PLUGINS", "pears")
    assert states(call)["pears"] == "on"
    monkeypatch.setenv("SINK_PLUGINS_OFF", "pears")
    assert states(call)["pears"] == "off"


def test_off_beats_on_at_every_level(site, call, configured):
    site.mapping("apples")
    site.mapping("pears")
    configured("pears", disabled=("apples",))
    assert states(call, "--only", "apples,pears") == {"apples": "off", "pears": "on"}


def test_env_file_turns_plugins_on_and_off(site, call, configured, tmp_path):
    site.mapping("apples")
    site.mapping("pears")
    path = configured("apples", "pears")
    path.write_text('env_file = "stack.env"\n' + path.read_text())
    (tmp_path / "stack.env").write_text("SINK_PLUGINS_OFF=apples\n")
    assert states(call) == {"apples": "off", "pears": "on"}


@pytest.mark.parametrize("how", ["only", "without"])
def test_misspelt_name_is_reported_with_nearest(site, call, how):
    site.mapping("apples")
    code, out, err = call("plugins", f"--{how}", "aples")
    assert (code, out) == (78, "")
    assert re.fullmatch(
        r"sink-runner: \w+ plugin 'aples' is not installed; did you mean 'apples'\?\n", err
    )


def test_plugin_that_is_off_may_be_beyond_import(site, call, configured):
    site.plugin("pears", "raise RuntimeError")
    configured("*", disabled=("pears",))
    _, out, _ = call("plugins")
    assert ordering_key("pears", out).split() == ["pears", "off"]
    assert not site.was_imported("pears")


def test_broken_enabled_plugin_exits_with_78(site, call, configured):
    site.mapping("apples")
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert ordering_key("pears", out).split()[:2] == ["pears", "broken"]
    assert "    fault: ModuleNotFoundError: No module named 'nope_nope'" in out
    assert ordering_key("apples", out).split() == [*("apples", "on", "south.public.apples")]


def test_incompatible_plugin_fails_only_if_enabled(site, call, configured):
    site.plugin("pears", "raise RuntimeError", group="sink_runner.v2")
    code, out, _ = call("plugins")
    assert code == 0
    assert ordering_key("pears", out).split()[:2] == ["pears", "incompatible"]
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "fault: is made for sink_runner.v2" in out


def test_two_distributions_with_one_name_end_with_78(site, call, configured):
    site.mapping("pears")
    site.plugin("pears", "", dist="other-pears")
    configured("pears")
    code, out, _ = call("plugins")
    assert code == 78
    assert "two distributions provide it, other-pears 1.5 and sink-pears 1.5" in out


def test_json_has_everything_a_program_may_want(site, call, configured):
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


def test_plugins_are_listed_where_there_is_no_configuration(site, call, configured, monkeypatch):
    site.mapping("apples")
    configured().unlink()
    monkeypatch.setenv("SINK_PLUGINS", "apples")
    code, out, _ = call("plugins")
    assert code == 0
    assert ordering_key("apples", out).split()[1] == "on"


# -- plugins: chain and configuration ----------------------------------------------------------


def test_chain_is_printed_in_order_of_its_steps(site, call, configured):
    site.mapping("apples", code="\n@hookimpl\ndef sink_map(row): return row")
    site.plugin("zebra", HOOKS + "@hookimpl(tryfirst=True)\ndef sink_map(row): return row")
    site.plugin("ant", HOOKS + "@hookimpl\ndef sink_filter(event): ...")
    configured("apples", "zebra", "ant")
    code, out, _ = call("plugins", "--chain", "apples")
    assert code == 0
    *head, steps = out.split("\n", 3)
    assert head == ["apples:", "    north.public.apples ->", "    south.public.apples"]
    named = [" ".join(step.split()[1:]) for step in steps.splitlines()]
    assert named[:6] == [
        "(built in) drop echoes of the runner's own writes",
        "sink_filter ant",
        "(built in) read 1 declared columns: source, convert, default",
        "sink_map zebra, apples",
        "(built in) mask by policy, cut to max_length",
        "sink_mask -",
    ]
    assert "(built in) write, source wins" in named


RULES = """
from dataclasses import replace
from sink_runner.plugin import Rule

def ruled(mapping):
    columns = (Column("id", minimum=1), Column("size"))
    rules = (Rule("even", lambda row: row["size"] % 2 == 0, ("size",)),)
    made = replace(mapping(), columns=columns, rules=rules)
    return hookimpl(lambda: made, specname="sink_mapping")

sink_mapping = ruled(sink_mapping)
"""


def test_chain_names_what_quality_rules_look_at(site, call, configured):
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
def test_chain_needs_an_enabled_mapping(site, call, configured, name, message):
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


def test_mapping_whose_topic_is_not_read_says_so(site, call, configured):
    site.mapping("apples")
    site.nightly("nightly")
    configured("apples", "nightly")
    _, out, _ = call("plugins")
    assert out.count("\n    batch only") == 1
    assert ordering_key("nightly", out) + "\n    batch only" in out
