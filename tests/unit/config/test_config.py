"""The configuration file: defaults, errors, the env file and the selection of plugins."""

from pathlib import Path

import pytest

from sink_runner import config
from sink_runner.config import load
from sink_runner.config.sections import PluginSelection
from sink_runner.errors import ConfigError

from ...support.certificates import Authority

ROOT = Path(__file__).parents[3]
SECRET = "s3cret-value"

COMPLETE = """
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
    """Return a function that writes the configuration file; the key file exists already."""
    (tmp_path / "key.txt").write_text(f"{SECRET}\n")

    def write(text: str = COMPLETE) -> Path:
        path = tmp_path / config.FILE
        path.write_text(text)
        return path

    return write


def load_errors(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {"NORTH": SECRET}).config()
    return str(caught.value).splitlines()


# -- the file ----------------------------------------------------------------------------------


def test_missing_settings_have_defaults(write, tmp_path):
    loaded = load(write(), {"NORTH": SECRET}).config()
    assert loaded.kafka.bootstrap == "127.0.0.1:9092"
    assert loaded.policies.directory == tmp_path / "ranger-policies"
    assert loaded.batch.max_rows == 5000
    assert loaded.retry_steps == (1, 2, 4, 8, 16)
    assert (loaded.shutdown_seconds, loaded.maintenance_seconds) == (10, 60)
    assert loaded.remember_deletes_days == 30
    assert (loaded.log.format, loaded.log.level) == ("auto", "info")
    assert loaded.plugins == PluginSelection(enabled=("*",), disabled=())


def test_secrets_are_read_from_environment_and_files(write):
    loaded = load(write(), {"NORTH": SECRET}).config()
    assert loaded.databases["north"].dsn.read() == SECRET
    assert loaded.dead_letters.key == SECRET


def test_secrets_are_in_no_repr(write):
    file = load(write(), {"NORTH": SECRET})
    assert SECRET not in repr(file)
    assert SECRET not in repr(file.config())


def test_all_errors_are_reported_without_values(write):
    wrong = COMPLETE.replace("bootstrap", "bootstrp").replace('"one"', "[1]")
    errors = load_errors(write(f'retry_steps = ["{SECRET}"]\n{wrong}'), {"OTHER": ""})
    assert errors == [
        "databases.north.dsn: environment variable NORTH is not set",
        "dead_letters.key_id must be a string, not list",
        "kafka.bootstrap is missing",
        "kafka.bootstrp is unknown; did you mean 'bootstrap'?",
        "retry_steps[0] must be a number, not str",
    ]


def test_empty_file_lacks_required_settings(write):
    assert load_errors(write("")) == [
        "databases is missing",
        "dead_letters.key is missing",
        "dead_letters.key_id is missing",
        "kafka.bootstrap is missing",
        "registry.url is missing",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
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
        ("reconcile.sample_percent = 101", "sample_percent must be at most 100, got 101"),
        ("plugins.enable = []", "plugins.enable is unknown; did you mean 'enabled'?"),
        ('plugins.enabled = "*"', "plugins.enabled must be a list, each a string, not str"),
        ('log.format = "jsn"', "log.format must be"),
        ('log.level = { enw = "X" }', "log.level must be"),
        ('log.level = { env = "NORTH" }', "log.level must be"),
        ('shutdown_seconds = { file = "none" }', "none: No such file or directory"),
    ],
)
def test_error_names_setting(write, line, message):
    (error,) = load_errors(write(f"{line}\n{COMPLETE}"))
    assert message in error
    assert SECRET not in error


@pytest.mark.parametrize(
    ("text", "message"),
    [("kafka = ", "Invalid value"), ("[kafka]\n[kafka]", "Cannot declare")],
)
def test_invalid_toml_is_reported_with_file(write, text, message):
    path = write(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path, {})
    assert str(path) in str(caught.value)


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml", {})


def test_tables_of_plugins_are_separate(write):
    file = load(
        write(f"{COMPLETE}[plugins]\ndisabled = []\n[plugins.apples]\nx = 1"), {"NORTH": ""}
    )
    assert file.plugin_tables == {"apples": {"x": 1}}
    assert file.config().plugins == PluginSelection()


def test_plugin_selection_is_readable_from_incomplete_file(write):
    assert load(write('[plugins]\nenabled = ["a"]'), {}).plugins().enabled == ("a",)


# -- the env file ------------------------------------------------------------------------------


def test_environment_overrides_env_file(write, tmp_path):
    (tmp_path / "stack.env").write_text("# ports\n\nNORTH=file\nexport OTHER='a b'\nEMPTY=\n")
    path = write(f'env_file = "stack.env"\n{COMPLETE}')
    assert load(path, {}).config().databases["north"].dsn.read() == "file"
    assert load(path, {"NORTH": "real"}).config().databases["north"].dsn.read() == "real"
    assert load(path, {}).environ["OTHER"] == "a b"
    assert load(path, {}).environ["EMPTY"] == ""


def test_env_file_may_be_missing(write):
    path = write(f'env_file = ".stack/none.env"\n{COMPLETE}')
    assert load(path, {"NORTH": "real"}).config().databases["north"].dsn.read() == "real"


def test_invalid_env_file_line_is_not_quoted(write, tmp_path):
    (tmp_path / "stack.env").write_text(f"A=1\n{SECRET}\n")
    path = write('env_file = "stack.env"')
    with pytest.raises(ConfigError, match="line 2: not of the form KEY=VALUE") as caught:
        load(path, {})
    assert SECRET not in str(caught.value)


# -- finding the file --------------------------------------------------------------------------


def test_file_is_found_in_parents_or_environment(write, tmp_path):
    path = write()
    subfolder = tmp_path / "a" / "b"
    subfolder.mkdir(parents=True)
    assert config.find_file(tmp_path, {}) == path
    assert config.find_file(subfolder, {}) == path
    assert config.find_file(subfolder, {"SINK_CONFIG": "/other/file.toml"}) == Path(
        "/other/file.toml"
    )


# -- selection of plugins ----------------------------------------------------------------------

IN_FILE = PluginSelection(enabled=("a", "b"), disabled=("x",))


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
def test_last_enabled_list_wins_and_disabled_accumulates(environ, only, without, enabled, disabled):
    assert IN_FILE.override(environ, only, without) == PluginSelection(
        enabled=enabled, disabled=disabled
    )


# -- the repository's file ---------------------------------------------------------------------

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


def test_repository_file_needs_variables_of_local_stack():
    environ = dict.fromkeys(STACK, SECRET) | {"SINK_REGISTRY": "http://127.0.0.1:8081"}
    loaded = load(ROOT / config.FILE, environ).config()
    assert sorted(loaded.databases) == ["smart_citizen", "smart_warehouse"]
    assert loaded.policies.directory == ROOT / "ranger-policies"
    assert loaded.plugins == PluginSelection(enabled=("*",), disabled=())


def test_environment_configures_tls_of_connections(tmp_path: Path) -> None:
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
    loaded = load(ROOT / config.FILE, environ).config()
    assert loaded.kafka.security.password is not None
    assert loaded.registry.password is not None
    assert loaded.registry.password.read() == SECRET
