"""What holds of every dead letter: it opens again whatever key was changed, and shows no canary."""

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.model.message import NO_LEADER_EPOCH, Message
from sink_runner.writer.encryption import Encryptor

KEYS = st.binary(min_size=32, max_size=32)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["a", "a.b.c"]),
    st.integers(-1, 99),
    st.integers(0, 2**62),
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=200),
    headers=st.just(()),
    leader_epoch=st.just(NO_LEADER_EPOCH),  # a dead letter moves no offset
)


@given(MESSAGES, st.lists(KEYS, min_size=1, max_size=4, unique=True))
def test_each_key_decrypts_its_own_after_rotation(message: Message, keys: list[bytes]) -> None:
    """A dead letter from the time of each key, and what `dlq rekey` makes of it."""
    names = [str(at) for at in range(len(keys))]
    ages = [
        Encryptor(key, names[at], dict(zip(names[:at], keys[:at], strict=True)))
        for at, key in enumerate(keys)
    ]
    now = ages[-1]
    place = (message.topic, message.partition, message.offset)
    for age in ages:
        opened = now.decrypt(age.encrypt(message), *place)
        assert opened == message
        assert now.renewed().decrypt(now.encrypt(opened), *place) == message
    assert {age.fingerprint(b"k") for age in ages} == {ages[0].fingerprint(b"k")}
    assert now.renewed().fingerprint(b"k") == Encryptor(keys[-1], "n").fingerprint(b"k")


CANARIES = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=10, max_size=18)


@pytest.mark.postgres
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    canary=CANARIES,
    spoilt=st.sampled_from(
        [{"note": "bad"}, {"note": "z"}, {"town": "Sri Ganganagar"}, {"district": "Nowhere"}]
    ),
    user=st.sampled_from(["clerk", "judge", "nobody-knows-him"]),
)
def test_nothing_that_is_told_holds_a_canary(
    office: Any, canary: str, spoilt: dict[str, Any], user: str
) -> None:
    """A value of a classified column, in a dead letter of any kind, asked for by anybody."""
    office.send(office.event(office.offset + 1, full_name=canary, **({"note": "a"} | spoilt)))
    dead_letter = f"{office.database}/{office.dead_letters('dlq_id')[-1]}"
    told = io.StringIO()
    for arguments in (
        ("list", "--status", "ALL"),
        ("list", "--status", "ALL", "--json"),
        ("list", "--summary", "--status", "ALL"),
        ("show", dead_letter, "--as", user),
        ("show", dead_letter, "--as", user, "--json"),
        ("explain", dead_letter, "--as", user),
        ("explain", dead_letter, "--as", user, "--json"),
        ("export", "--status", "ALL", "--as", user),
        ("export", "--status", "ALL", "--as", user, "--format", "csv"),
    ):
        _, out, err = office.dlq(*arguments)
        told.write(out + err)
    assert dead_letter in told.getvalue()
    assert canary not in told.getvalue()
    assert json.dumps(canary) not in told.getvalue()
    dump = office.admin.execute(
        "SELECT string_agg(t::text, ' ') FROM sink.dead_letter t"
    ).fetchone()
    assert canary not in dump[0]
    assert canary.encode().hex() not in dump[0]
