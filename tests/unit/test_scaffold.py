"""The plugin that `sink-runner new` writes."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sink_runner.cli import main
from sink_runner.errors import SinkError
from sink_runner.scaffold import scaffold

ROOT = Path(__file__).parents[2]
ORDERS = {
    "source": "shop.public.orders",
    "target": "crm.public.purchases",
    "key": ("order_id",),
    "version": "updated_at",
}


@pytest.mark.parametrize("key", ["order_id", "shop_id,order_id"])
def test_new_plugin_installs_loads_and_passes_its_tests(tmp_path, capsys, key):
    argv = ["new", "late-orders", "--root", str(tmp_path), "--key", key, "--version", "updated_at"]
    assert main([*argv, "--source", ORDERS["source"], "--target", ORDERS["target"]]) == 0
    folder = tmp_path / "late-orders"
    assert capsys.readouterr().out.startswith(f"{folder}: now `pip install")

    site = tmp_path / "site"
    environ = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PIP_NO_INDEX": "1"}
    environ |= {"SINK_PLUGINS": "late-orders", "SINK_CONFIG": str(tmp_path / "empty.toml")}
    (tmp_path / "empty.toml").touch()
    for command in (
        ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", site, folder],
        ["pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", folder],
        ["ruff", "check", "-q", "--config", ROOT / "pyproject.toml", "--ignore=INP001", folder],
        ["ruff", "format", "-q", "--check", "--config", ROOT / "pyproject.toml", folder],
        ["mypy", "--strict", folder / "src", "--cache-dir", tmp_path / "mypy"],
    ):
        run(environ, "-m", *map(str, command))
    code = "import sys; from sink_runner.cli import main; sys.exit(main(sys.argv[1:]))"
    listed = run(environ, "-c", code, "plugins", "--wide")
    facts = ["late-orders", "on", "0.1", ORDERS["target"], ORDERS["source"]]
    assert facts in [line.split() for line in listed.splitlines()]


def run(environ: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_new_plugin_has_files_of_every_plugin(tmp_path):
    folder = scaffold(tmp_path, "late-orders", **ORDERS)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "README.md",
        "pyproject.toml",
        "src/sink_late_orders/__init__.py",
        "src/sink_late_orders/py.typed",
        "tests/test_sink_late_orders.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["sink_runner.v1"] == {"late-orders": "sink_late_orders"}
    assert project["name"] == "sink-late-orders"


def test_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "orders").mkdir()
    with pytest.raises(SinkError, match="orders exists"):
        scaffold(tmp_path, "orders", **ORDERS)
    assert list((tmp_path / "orders").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Orders"}, "not a plugin name"),
        ({"name": "late_orders"}, "not a plugin name"),
        ({"name": "../orders"}, "not a plugin name"),
        ({"name": "enabled"}, "not a plugin name"),
        ({"source": "orders"}, "not of the form database.schema.table"),
        ({"target": 'a.b."c d"'}, "is not a plain SQL name"),
        ({"target": ORDERS["source"]}, "the same table"),
        ({"key": ()}, "at least one column"),
        ({"key": ("a", "a")}, "none twice"),
        ({"version": "order_id"}, "part of the key"),
        ({"version": 'x")'}, "is not a plain SQL name"),
    ],
)
def test_invalid_name_writes_nothing(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        scaffold(tmp_path, **({"name": "orders"} | ORDERS | change))
    assert list(tmp_path.iterdir()) == []


def test_invalid_name_exits_with_2(tmp_path, capsys):
    argv = ["new", "Orders", "--root", str(tmp_path), "--key", "id", "--version", "at"]
    assert main([*argv, "--source", "a.b.c", "--target", "d.e.f"]) == 2
    assert "kebab-case" in capsys.readouterr().err
