"""The columns of a dead letter, and the encryption of its message."""

from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.errors import (
    ConfigError,
    EventError,
    ExpiredError,
    StepError,
    WaitingError,
    WriteError,
)
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.model.message import NO_LEADER_EPOCH, NO_TIMESTAMP, ROWS, Message
from sink_runner.postgres.error_classes import classify_error
from sink_runner.writer.dead_letters import DeadLetters
from sink_runner.writer.encryption import Encryptor

ENCRYPTOR = Encryptor(b"k" * 32, "one")
MESSAGES = st.builds(
    Message,
    st.sampled_from(["a", "a.b.c"]),
    st.integers(0, 99),
    st.integers(0, 2**62),
    st.none() | st.binary(max_size=40),
    st.binary(max_size=200),
    headers=st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=9)), max_size=2).map(tuple),
    # A dead letter stores neither of them: it commits no offset and is not part of the lag.
    leader_epoch=st.just(NO_LEADER_EPOCH),
    timestamp=st.just(NO_TIMESTAMP),
)
MESSAGE = Message("topic", 1, 2, b"key", b"value")


class TestEncryption:
    @given(MESSAGES)
    def test_encrypted_message_can_be_decrypted(self, message: Message) -> None:
        encrypted = ENCRYPTOR.encrypt(message)
        assert (
            ENCRYPTOR.decrypt(encrypted, message.topic, message.partition, message.offset)
            == message
        )

    def test_another_key_does_not_decrypt(self) -> None:
        with pytest.raises(InvalidTag):
            Encryptor(b"x" * 32, "one").decrypt(ENCRYPTOR.encrypt(MESSAGE), "topic", 1, 2)

    @pytest.mark.parametrize("position", [("other", 1, 2), ("topic", 2, 2), ("topic", 1, 3)])
    def test_message_of_another_position_does_not_decrypt(
        self, position: tuple[str, int, int]
    ) -> None:
        with pytest.raises(InvalidTag):
            ENCRYPTOR.decrypt(ENCRYPTOR.encrypt(MESSAGE), *position)

    def test_equal_messages_are_encrypted_differently(self) -> None:
        assert ENCRYPTOR.encrypt(MESSAGE) != ENCRYPTOR.encrypt(MESSAGE)

    def test_encrypted_message_is_not_readable(self) -> None:
        long = MESSAGE._replace(value=b"readable" * 4)
        assert b"readable" not in ENCRYPTOR.encrypt(long)

    @pytest.mark.parametrize("length", [0, 16, 31, 33])
    def test_key_of_another_length_is_refused(self, length: int) -> None:
        with pytest.raises(ConfigError, match="32 bytes"):
            Encryptor(b"k" * length, "one")

    def test_fingerprint_depends_on_row_and_key(self) -> None:
        assert (
            ENCRYPTOR.fingerprint(b"a")
            == ENCRYPTOR.fingerprint(b"a")
            != ENCRYPTOR.fingerprint(b"b")
        )
        assert Encryptor(b"x" * 32, "one").fingerprint(b"a") != ENCRYPTOR.fingerprint(b"a")
        assert ENCRYPTOR.fingerprint(None) is None


def dead_letter_of(raised: BaseException) -> tuple[Any, ...]:
    """Return the columns of the dead letter for an error of a write or a step."""
    error = raised if isinstance(raised, EventError) else classify_error(raised)
    if error is not raised:
        error.__cause__ = raised
    return DeadLetters("m", "1", ENCRYPTOR)._row(DeadLetter(MESSAGE, error))


def error_with(value: str, kind: str) -> BaseException:
    """Return an error that contains the value: of a plugin's step, or a ValueError."""
    try:
        if kind == "step":
            try:
                int(value + "x")
            except ValueError as error:
                raise StepError("p", "sink_map", f"raised {type(error).__name__}") from error
        return ValueError(value)
    except StepError as error:
        return error


@given(
    st.text("abcdefghijklmnopqrstuvwxyz\n\"'\\{}\u0905", min_size=12, max_size=30),
    st.sampled_from(["step", "value"]),
)
def test_dead_letter_contains_no_unmasked_value(value: str, kind: str) -> None:
    row = dead_letter_of(error_with(value, kind))
    assert not [part for part in row if isinstance(part, str) and value in part]
    assert not [part for part in row if isinstance(part, bytes) and value.encode() in part]


def test_trace_contains_causes() -> None:
    trace = dead_letter_of(error_with("secret", "step"))[8].splitlines()
    classes = [line for line in trace if not line.startswith(" ")]
    assert [line.split(" (")[0].rsplit(".", 1)[-1] for line in classes] == [
        "StepError",
        "caused by ValueError",
    ]
    assert all("test_dead_letters.py:" in line for line in trace if line.startswith(" "))
    assert "secret" not in "".join(trace)


def test_text_of_plugin_error_is_not_stored() -> None:
    """The author of a plugin may write a value of the row into an EventError."""
    row = dead_letter_of(raise_in_plugin(EventError("number 012345678901 is odd")))
    assert row[7] == "a plugin raised sink_runner.errors.EventError at <string>:1:<module>"
    assert "012345678901" not in row[8]


def raise_in_plugin(error: EventError) -> EventError:
    """Raise the error in a module outside the runner, and return it with its traceback."""
    space = {"error": error, "__name__": "sink_people"}
    try:
        exec("raise error", space)
    except EventError as caught:
        return caught
    raise AssertionError


def test_sqlstate_is_stored() -> None:
    row = DeadLetters("m", "1", ENCRYPTOR)._row(
        DeadLetter(MESSAGE, WriteError("refused", sqlstate="22001"))
    )
    assert row[5:8] == ("WriteError", "22001", "refused")
    assert row[-3:] == ("one", "1", "OPEN")


@pytest.mark.parametrize(
    ("error", "status"), [(WaitingError("not yet"), "PARKED"), (ExpiredError("never"), "OPEN")]
)
def test_waiting_error_makes_deferred_event(error: EventError, status: str) -> None:
    assert DeadLetters("m", "1", ENCRYPTOR)._row(DeadLetter(MESSAGE, error))[-1] == status


def test_row_of_batch_has_no_partition() -> None:
    dead_letter = DeadLetter(MESSAGE._replace(partition=ROWS), EventError("why"))
    assert DeadLetters("m", "1", ENCRYPTOR)._row(dead_letter)[2] is None
