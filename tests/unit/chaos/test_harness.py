"""All addresses of the runner's environment are replaced by those of the proxies."""

import pytest

from ...chaos.harness import redirect_to_proxies

_PROXIES = {5001: 6001, 5002: 6002}
_ENVIRONMENT = {
    "SINK_A_DSN": "postgresql://sink@127.0.0.1:5001/a",
    "SINK_B_DSN": "postgresql://sink@127.0.0.1:5001/b",
    "SINK_KAFKA": "127.0.0.1:5002",
    "SINK_KEY": "5001",
    "HOME": "127.0.0.1:5001",
}


def test_every_sink_address_is_redirected() -> None:
    assert redirect_to_proxies(_ENVIRONMENT, _PROXIES) == {
        "SINK_A_DSN": "postgresql://sink@127.0.0.1:6001/a",
        "SINK_B_DSN": "postgresql://sink@127.0.0.1:6001/b",
        "SINK_KAFKA": "127.0.0.1:6002",
        "SINK_KEY": "5001",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SINK_KAFKA", "localhost:5002", "no address has port 5002"),
        ("SINK_KAFKA", "", "no address has port 5002"),
        ("SINK_B_DSN", "postgresql://sink@localhost:5001/b", "'SINK_B_DSN'. bypass"),
    ],
)
def test_address_without_proxy_is_error(name: str, text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        redirect_to_proxies({**_ENVIRONMENT, name: text}, _PROXIES)
