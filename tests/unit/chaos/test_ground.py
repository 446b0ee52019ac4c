"""The runner's addresses lead to the relays, all of them or it is an error."""

import pytest

from ...chaos.ground import relayed

_RELAYS = {5001: 6001, 5002: 6002}
_GOOD = {
    "SINK_A_DSN": "postgresql://sink@127.0.0.1:5001/a",
    "SINK_B_DSN": "postgresql://sink@127.0.0.1:5001/b",
    "SINK_KAFKA": "127.0.0.1:5002",
    "SINK_KEY": "5001",
    "HOME": "127.0.0.1:5001",
}


def test_every_address_of_sink_is_relay() -> None:
    assert relayed(_GOOD, _RELAYS) == {
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
        ("SINK_B_DSN", "postgresql://sink@localhost:5001/b", "'SINK_B_DSN'. lead past"),
    ],
)
def test_address_that_no_relay_stands_before_is_error(name: str, text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        relayed({**_GOOD, name: text}, _RELAYS)
