"""Settings of the schema registry, and those that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sink_runner.config.reader import SettingError, SettingsReader
from sink_runner.config.registry import Registry

SECRET = "hunter2"


def read(**table: Any) -> Registry:
    return SettingsReader().read(Registry, table, "registry")


def test_url_alone_is_enough() -> None:
    assert read(url="http://127.0.0.1:8081/apis/").urls == ("http://127.0.0.1:8081/apis",)


def test_urls_are_separated_by_commas() -> None:
    assert read(url="https://one:8081/, https://[::1]/x").urls == (
        "https://one:8081",
        "https://[::1]/x",
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"url": ""}, "url: expected http://host:port/path"),
        ({"url": "registry:8081"}, "url: expected http://host:port/path"),
        ({"url": "ftp://registry"}, "url: expected http://host:port/path"),
        ({"url": "https://one,https://"}, "url: expected http://host:port/path"),
        ({"url": "https://one:x"}, "url: expected http://host:port/path"),
        ({"url": f"https://sink:{SECRET}@one"}, "set registry.username and registry.password"),
        ({"url": f"https://one,http://sink:{SECRET}@two"}, "set registry.username"),
        ({"url": f"https://sink:{SECRET}#@one"}, "url: expected http://host:port/path"),
        ({"url": f"https://one?token={SECRET}"}, "url must not have a query"),
        (
            {"url": "http://one", "username": "sink", "password": SECRET},
            "use https://, or set allow_plaintext_credentials = true",
        ),
        ({"url": "http://one", "token": SECRET}, "without encryption"),
        ({"url": "https://one,http://two"}, "url mixes http:// and https://"),
        ({"url": "https://one", "username": "sink"}, "username and password need each other"),
        ({"url": "https://one", "password": SECRET}, "username and password need each other"),
        (
            {"url": "https://one", "username": "a:b", "password": SECRET},
            "username must not contain ':'",
        ),
        (
            {"url": "https://one", "username": "sink", "password": SECRET, "token": SECRET},
            "set one of the two",
        ),
        ({"url": "http://one", "ca_file": "/ca.pem"}, "ca_file needs a url with https://"),
        ({"url": "https://one", "ca_file": "/missing/ca.pem"}, "ca_file: /missing/ca.pem: No such"),
        ({"url": "https://one", "key_file": "/key.pem"}, "need certificate_file"),
        ({"url": "https://one", "user": "sink"}, "registry.user is unknown"),
    ],
)
def test_invalid_settings_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        read(**table)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_plaintext_credentials_need_permission() -> None:
    settings = read(
        url="http://one", username="sink", password=SECRET, allow_plaintext_credentials=True
    )
    assert SECRET not in repr(settings)


def test_config_prints_no_credentials(
    configured: Callable[..., Path], call: Callable[..., tuple[int, str, str]]
) -> None:
    path = configured()
    text = path.read_text().replace(
        '"http://127.0.0.1:8081"',
        f'"https://sink:{SECRET}-a@one:1,https://sink:{SECRET}-b@two"\ntoken = "{SECRET}-c"',
    )
    path.write_text(text)
    code, out, err = call("config")
    assert code == 78
    assert SECRET not in out + err
    assert 'registry.url = "https://***@one:1,https://***@two"' in out
    assert "registry.token = ***" in out
    assert "set registry.username and registry.password" in err
