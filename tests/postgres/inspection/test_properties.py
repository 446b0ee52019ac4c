"""Properties of every dead letter: it stays decryptable, and no output shows a personal value."""

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.model.message import NO_LEADER_EPOCH, NO_TIMESTAMP, Message
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
    timestamp=st.just(NO_TIMESTAMP),  # nor has it a latency
)


@given(MESSAGES, st.lists(KEYS, min_size=1, max_size=4, unique=True))
def test_each_key_decrypts_its_own_after_rotation(message: Message, keys: list[bytes]) -> None:
    """Dead letters of each key stay decryptable, before and after `dlq rekey`."""
    names = [str(number) for number in range(len(keys))]
    encryptors = [
        Encryptor(key, names[n], dict(zip(names[:n], keys[:n], strict=True)))
        for n, key in enumerate(keys)
    ]
    newest = encryptors[-1]
    position = (message.topic, message.partition, message.offset)
    for encryptor in encryptors:
        decrypted = newest.decrypt(encryptor.encrypt(message), *position)
        assert decrypted == message
        assert newest.renewed().decrypt(newest.encrypt(decrypted), *position) == message
    assert {one.fingerprint(b"k") for one in encryptors} == {encryptors[0].fingerprint(b"k")}
    assert newest.renewed().fingerprint(b"k") == Encryptor(keys[-1], "n").fingerprint(b"k")


CANARIES = st.text("ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=10, max_size=18)


@pytest.mark.postgres
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    canary=CANARIES,
    invalid=st.sampled_from(
        [{"note": "bad"}, {"note": "z"}, {"town": "Sri Ganganagar"}, {"district": "Nowhere"}]
    ),
    user=st.sampled_from(["clerk", "auditor", "unknown"]),
)
def test_no_output_contains_personal_value(
    harness: Any, canary: str, invalid: dict[str, Any], user: str
) -> None:
    """The value of a classified column, for dead letters of each kind and users of each group."""
    harness.send(harness.event(harness.offset + 1, full_name=canary, **({"note": "a"} | invalid)))
    dead_letter = f"{harness.database}/{harness.dead_letters('dlq_id')[-1]}"
    output = io.StringIO()
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
        _, out, err = harness.dlq(*arguments)
        output.write(out + err)
    assert dead_letter in output.getvalue()
    assert canary not in output.getvalue()
    assert json.dumps(canary) not in output.getvalue()
    dump = harness.admin.execute(
        "SELECT string_agg(t::text, ' ') FROM sink.dead_letter t"
    ).fetchone()
    assert canary not in dump[0]
    assert canary.encode().hex() not in dump[0]
