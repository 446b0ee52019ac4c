"""The configuration file, its values from elsewhere, and what turns plugins on and off."""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from sink_runner import config
from sink_runner.config import Config, load
from sink_runner.config import reader as settings
from sink_runner.config.reader import Count, Secret, SettingsReader, to_toml
from sink_runner.config.reference import keys
from sink_runner.config.sections import PluginSelection
from sink_runner.config.tls import Tls
from sink_runner.errors import ConfigError

from ...support.certificates import Authority

ROOT = Path(__file__).parents[3]
SECRET = "s3cret-value"

WHOLE = """
[kafka]
bootstrap = "127.0.0.1:9092"
[registry]
url = "http://127.0.0.1:8081"
[databases.north]
dsn = { env = "NORTH" }
reader_dsn = "dbname=north"
[dead_letters]
key = { file = "key.txt" }
key_id = "one"
"""


@pytest.fixture
def write(tmp_path):
    """Write a configuration file and the files it speaks of."""
    (tmp_path / "key.txt").write_text(f"{SECRET}\n")

    def write(text: str = WHOLE) -> Path:
        path = tmp_path / config.FILE
        path.write_text(text)
        return path

    return write


def faults(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {"NORTH": SECRET}).config()
    return str(caught.value).splitlines()


# -- the file ----------------------------------------------------------------------------------


def test_a_short_file_is_filled_up_with_defaults(write, tmp_path):
    read = load(write(), {"NORTH": SECRET}).config()
    assert read.kafka.bootstrap == "127.0.0.1:9092"
    assert read.policies.directory == tmp_path / "ranger-policies"
    assert read.batch.max_rows == 5000
    assert read.retry_steps == (1, 2, 4, 8, 16)
    assert (read.shutdown_seconds, read.maintenance_seconds) == (10, 60)
    assert read.remember_deletes_days == 30
    assert (read.log.format, read.log.level) == ("auto", "info")
    assert read.plugins == PluginSelection(enabled=("*",), disabled=())


def test_secrets_come_from_the_environment_and_from_files(write):
    read = load(write(), {"NORTH": SECRET}).config()
    assert read.databases["north"].dsn.read() == SECRET
    assert read.dead_letters.key == SECRET


def test_secrets_are_in_no_repr(write):
    file = load(write(), {"NORTH": SECRET})
    assert SECRET not in repr(file)
    assert SECRET not in repr(file.config())


def test_all_faults_are_reported_without_values(write):
    wrong = WHOLE.replace("bootstrap", "bootstrp").replace('"one"', "[1]")
    found = faults(write(f'retry_steps = ["{SECRET}"]\n{wrong}'), {"OTHER": ""})
    assert found == [
        "databases.north.dsn: environment variable NORTH is not set",
        "dead_letters.key_id must be a string, not list",
        "kafka.bootstrap is missing",
        "kafka.bootstrp is unknown; did you mean 'bootstrap'?",
        "retry_steps[0] must be a number, not str",
    ]


def test_empty_file_lacks_every_required_key(write):
    assert faults(write("")) == [
        "databases is missing",
        "dead_letters.key is missing",
        "dead_letters.key_id is missing",
        "kafka.bootstrap is missing",
        "registry.url is missing",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("kafak = 1", "kafak is unknown; did you mean 'kafka'?"),
        ("shutdown_seconds = -1", "shutdown_seconds is less than 0"),
        ("retry_steps = [1, -2]", "retry_steps[1] is less than 0"),
        ("retry_steps = []", "retry_steps is empty"),
        ("batch.max_rows = 0", "batch.max_rows is less than 1"),
        ("batch.max_rows = true", "batch.max_rows must be an integer, not bool"),
        ("batch.max_rows = 1.5", "batch.max_rows must be an integer, not float"),
        ("batch = 3", "batch must be a table"),
        ("plugins = 3", "plugins must be a table"),
        ("plugins.enable = []", "plugins.enable is unknown; did you mean 'enabled'?"),
        ('plugins.enabled = "*"', "plugins.enabled must be a list, each a string, not str"),
        ('log.format = "jsn"', "log.format must be"),
        ('log.level = { enw = "X" }', "log.level must be"),
        ('log.level = { env = "NORTH" }', "log.level must be"),
        ('shutdown_seconds = { file = "none" }', "none: No such file or directory"),
    ],
)
def test_fault_names_its_key(write, line, fault):
    (only,) = faults(write(f"{line}\n{WHOLE}"))
    assert fault in only
    assert SECRET not in only


@pytest.mark.parametrize(
    ("text", "fault"),
    [("kafka = ", "Invalid value"), ("[kafka]\n[kafka]", "Cannot declare")],
)
def test_invalid_toml_is_reported_with_file(write, text, fault):
    path = write(text)
    with pytest.raises(ConfigError, match=fault) as caught:
        load(path, {})
    assert str(path) in str(caught.value)


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml", {})


def test_tables_of_plugins_are_kept_apart(write):
    file = load(write(f"{WHOLE}[plugins]\ndisabled = []\n[plugins.apples]\nx = 1"), {"NORTH": ""})
    assert file.plugin_tables == {"apples": {"x": 1}}
    assert file.config().plugins == PluginSelection()


def test_choice_of_plugins_needs_nothing_else_of_file(write):
    assert load(write('[plugins]\nenabled = ["a"]'), {}).plugins().enabled == ("a",)


# -- values from elsewhere ---------------------------------------------------------------------


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@dataclass(frozen=True)
class Everything:
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    folder: Path = Path("default")
    either: Literal["a", "b"] = "a"
    size: Size = Size.SMALL
    several: tuple[int, ...] = ()
    bag: frozenset[str] = frozenset()
    named: dict[str, int] = field(default_factory=dict)
    maybe: int | None = None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("whole", "7", 7),
        ("number", "1.5", 1.5),
        ("flag", "TRUE", True),
        ("flag", "no", False),
        ("folder", "x", Path("/base/x")),
        ("folder", "/x", Path("/x")),
        ("either", "b", "b"),
        ("size", "large", Size.LARGE),
        ("several", "1, 2,", (1, 2)),
        ("bag", "a,b", frozenset("ab")),
        ("maybe", "3", 3),
    ],
)
def test_text_from_environment_becomes_what_key_needs(key, text, value):
    reader = SettingsReader({"NAME": text}, Path("/base"))
    assert getattr(reader.read(Everything, {key: {"env": "NAME"}}), key) == value


@pytest.mark.parametrize(
    ("key", "text"), [("whole", "x"), ("number", ""), ("flag", "maybe"), ("several", "1,x")]
)
def test_text_that_cannot_become_it_is_fault(key, text):
    with pytest.raises(ConfigError, match=rf"^{key} must be"):
        SettingsReader({"NAME": text}).read(Everything, {key: {"env": "NAME"}})


def test_default_of_environment_variable_has_key_type():
    table: dict[str, Any] = {"whole": {"env": "NAME", "default": 5}}
    assert SettingsReader().read(Everything, table).whole == 5
    table["whole"]["default"] = "5"
    with pytest.raises(ConfigError, match="whole must be an integer, not str"):
        SettingsReader().read(Everything, table)


def test_named_tables_are_checked_too():
    assert SettingsReader().read(Everything, {"named": {"a": 1}}).named == {"a": 1}
    with pytest.raises(ConfigError, match=r"named\.a must be an integer"):
        SettingsReader().read(Everything, {"named": {"a": "x"}})


def test_a_default_path_starts_where_the_file_is():
    assert SettingsReader(folder=Path("/base")).read(Everything, {}).folder == Path("/base/default")


# -- the env file ------------------------------------------------------------------------------


def test_env_file_fills_in_and_real_environment_wins(write, tmp_path):
    (tmp_path / "stack.env").write_text("# ports\n\nNORTH=file\nexport OTHER='a b'\nEMPTY=\n")
    path = write(f'env_file = "stack.env"\n{WHOLE}')
    assert load(path, {}).config().databases["north"].dsn.read() == "file"
    assert load(path, {"NORTH": "real"}).config().databases["north"].dsn.read() == "real"
    assert load(path, {}).environ["OTHER"] == "a b"
    assert load(path, {}).environ["EMPTY"] == ""


def test_an_env_file_may_be_missing(write):
    path = write(f'env_file = ".stack/none.env"\n{WHOLE}')
    assert load(path, {"NORTH": "real"}).config().databases["north"].dsn.read() == "real"


def test_invalid_env_file_line_is_not_quoted(write, tmp_path):
    (tmp_path / "stack.env").write_text(f"A=1\n{SECRET}\n")
    path = write('env_file = "stack.env"')
    with pytest.raises(ConfigError, match="line 2: not of the form KEY=VALUE") as caught:
        load(path, {})
    assert SECRET not in str(caught.value)


# -- finding the file --------------------------------------------------------------------------


def test_file_is_found_by_folder_or_environment(write, tmp_path):
    path = write()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert config.find_file(tmp_path, {}) == path
    assert config.find_file(below, {}) == path
    assert config.find_file(below, {"SINK_CONFIG": "/else/where.toml"}) == Path("/else/where.toml")


# -- on and off --------------------------------------------------------------------------------

FILE = PluginSelection(enabled=("a", "b"), disabled=("x",))


@pytest.mark.parametrize(
    ("environ", "only", "without", "enabled", "disabled"),
    [
        ({}, [], [], ("a", "b"), ("x",)),
        ({"SINK_PLUGINS": "c, d"}, [], [], ("c", "d"), ("x",)),
        ({"SINK_PLUGINS": ""}, [], [], ("a", "b"), ("x",)),
        ({"SINK_PLUGINS_OFF": "c"}, [], [], ("a", "b"), ("x", "c")),
        ({"SINK_PLUGINS": "c"}, ["d", "e,f"], [], ("d", "e", "f"), ("x",)),
        ({"SINK_PLUGINS_OFF": "c"}, [], ["d", "e,f"], ("a", "b"), ("x", "c", "d", "e", "f")),
    ],
)
def test_last_list_wins_and_disabled_adds_up(environ, only, without, enabled, disabled):
    assert FILE.override(environ, only, without) == PluginSelection(
        enabled=enabled, disabled=disabled
    )


# -- the repository's own file -----------------------------------------------------------------

STACK = (
    "SINK_KAFKA",
    "SINK_REGISTRY",
    "SINK_SMART_WAREHOUSE_DSN",
    "SINK_SMART_WAREHOUSE_READER_DSN",
    "SINK_SMART_CITIZEN_DSN",
    "SINK_SMART_CITIZEN_READER_DSN",
    "SINK_DEAD_LETTER_KEY",
    "SINK_DEAD_LETTER_KEY_ID",
)


def test_repository_file_needs_what_local_stack_sets():
    environ = dict.fromkeys(STACK, SECRET) | {"SINK_REGISTRY": "http://127.0.0.1:8081"}
    read = load(ROOT / config.FILE, environ).config()
    assert sorted(read.databases) == ["smart_citizen", "smart_warehouse"]
    assert read.policies.directory == ROOT / "ranger-policies"
    assert read.plugins == PluginSelection(enabled=("*",), disabled=())


def test_environment_alone_secures_connections(tmp_path: Path) -> None:
    authority = str(Authority(tmp_path).file)
    environ = dict.fromkeys(STACK, SECRET) | {
        "SINK_REGISTRY": "https://127.0.0.1:8081",
        "SINK_REGISTRY_CA_FILE": authority,
        "SINK_REGISTRY_USERNAME": "sink",
        "SINK_REGISTRY_PASSWORD": SECRET,
        "SINK_KAFKA_PROTOCOL": "SASL_SSL",
        "SINK_KAFKA_CA_FILE": authority,
        "SINK_KAFKA_MECHANISM": "SCRAM-SHA-512",
        "SINK_KAFKA_USERNAME": "sink",
        "SINK_KAFKA_PASSWORD": SECRET,
    }
    read = load(ROOT / config.FILE, environ).config()
    assert read.kafka.security.password is not None
    assert read.registry.password is not None
    assert read.registry.password.read() == SECRET


def test_empty_variable_leaves_an_optional_key_out() -> None:
    reader = SettingsReader({"EMPTY": ""})
    for raw in ({"env": "EMPTY"}, {"env": "NONE", "default": ""}):
        assert reader.read(Tls, {"ca_file": raw, "key_password": raw}) == Tls()


def test_every_key_is_documented():
    assert [key.path for key in keys(Config) if not key.doc.endswith(".")] == []


def test_the_reference_knows_types_defaults_and_secrets():
    found = {key.path: key for key in keys(Config)}
    assert found["databases.<name>.dsn"].secret
    assert found["databases.<name>.dsn"].required
    assert found["batch.max_rows"].default == 5000
    assert to_toml(found["plugins.enabled"].default) == '["*"]'


@dataclass(frozen=True)
class Documented:
    limit: Count = 5
    """How many
    at most."""
    plain: int = field(default=1, metadata={"doc": "From metadata."})
    bare: int = 2


@dataclass(frozen=True)
class Inherited(Documented):
    own: str = ""
    """Its own."""


def test_description_is_the_docstring_below_a_field():
    assert {key.path: key.doc for key in keys(Inherited, "x")} == {
        "x.limit": "How many at most.",
        "x.plain": "From metadata.",
        "x.bare": "",
        "x.own": "Its own.",
    }


def test_minimum_holds_for_values_of_the_environment():
    table = {"limit": {"env": "NAME"}}
    assert SettingsReader({"NAME": "1"}).read(Documented, table).limit == 1
    with pytest.raises(ConfigError, match=r"^limit is less than 1$"):
        SettingsReader({"NAME": "0"}).read(Documented, table)


# -- values of commands ------------------------------------------------------------------------


def test_output_of_a_command_is_a_value(tmp_path: Path) -> None:
    reader = SettingsReader({"NAME": "7"}, tmp_path)
    argv = [sys.executable, "-c", "import os; print(os.environ['NAME'])"]
    assert reader.read(Everything, {"whole": {"command": argv}}).whole == 7


@pytest.mark.parametrize(
    ("code", "seconds", "fault"),
    [
        (f"print('{SECRET}'); raise SystemExit(3)", 30, "exited with code 3"),
        (f"print('{SECRET}', flush=True); import time; time.sleep(60)", 0.5, "did not end within"),
        ("import os; os.write(1, b'\\xff')", 30, "must be text"),
    ],
)
def test_failed_command_shows_no_output(monkeypatch, code, seconds, fault):
    monkeypatch.setattr(settings, "_COMMAND_SECONDS", seconds)
    with pytest.raises(ConfigError, match=rf"^whole: command .* {fault}") as caught:
        SettingsReader().read(Everything, {"whole": {"command": [sys.executable, "-c", code]}})
    assert SECRET not in str(caught.value)


def test_missing_command_names_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^whole: command 'none-such': No such file"):
        SettingsReader({}, tmp_path).read(Everything, {"whole": {"command": ["none-such", SECRET]}})


@dataclass(frozen=True)
class Guarded:
    password: Secret | None = None


def test_secret_is_read_again_each_time(tmp_path):
    (tmp_path / "password").write_text("first\n")
    found = SettingsReader({}, tmp_path).read(Guarded, {"password": {"file": "password"}})
    assert found.password is not None
    assert found.password.read() == "first"
    (tmp_path / "password").write_text("second\n")
    assert found.password.read() == "second"
    assert "second" not in repr(found)


def test_empty_secret_counts_as_absent():
    table = {"password": {"env": "NAME", "default": ""}}
    assert SettingsReader().read(Guarded, table).password is None
