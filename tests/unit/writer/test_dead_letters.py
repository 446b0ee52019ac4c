"""What is kept of an event that cannot be applied, and what is not."""

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
from sink_runner.model.message import NO_LEADER_EPOCH, ROWS, Message
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
    leader_epoch=st.just(NO_LEADER_EPOCH),  # a dead letter moves no offset
)
MESSAGE = Message("topic", 1, 2, b"key", b"value")


class TestEncryption:
    @given(MESSAGES)
    def test_what_is_encrypted_opens_again(self, message: Message) -> None:
        encrypted = ENCRYPTOR.encrypt(message)
        assert (
            ENCRYPTOR.decrypt(encrypted, message.topic, message.partition, message.offset)
            == message
        )

    def test_not_with_another_key(self) -> None:
        with pytest.raises(InvalidTag):
            Encryptor(b"x" * 32, "one").decrypt(ENCRYPTOR.encrypt(MESSAGE), "topic", 1, 2)

    @pytest.mark.parametrize("place", [("other", 1, 2), ("topic", 2, 2), ("topic", 1, 3)])
    def test_nor_in_another_place(self, place: tuple[str, int, int]) -> None:
        with pytest.raises(InvalidTag):
            ENCRYPTOR.decrypt(ENCRYPTOR.encrypt(MESSAGE), *place)

    def test_the_same_message_is_never_encrypted_alike(self) -> None:
        assert ENCRYPTOR.encrypt(MESSAGE) != ENCRYPTOR.encrypt(MESSAGE)

    def test_nothing_of_it_can_be_read(self) -> None:
        long = MESSAGE._replace(value=b"readable" * 4)
        assert b"readable" not in ENCRYPTOR.encrypt(long)

    @pytest.mark.parametrize("length", [0, 16, 31, 33])
    def test_a_key_of_another_length_is_refused(self, length: int) -> None:
        with pytest.raises(ConfigError, match="32 bytes"):
            Encryptor(b"k" * length, "one")

    def test_fingerprint_distinguishes_rows_and_needs_key(self) -> None:
        assert (
            ENCRYPTOR.fingerprint(b"a")
            == ENCRYPTOR.fingerprint(b"a")
            != ENCRYPTOR.fingerprint(b"b")
        )
        assert Encryptor(b"x" * 32, "one").fingerprint(b"a") != ENCRYPTOR.fingerprint(b"a")
        assert ENCRYPTOR.fingerprint(None) is None


def dead_letter_of(fault: BaseException) -> tuple[Any, ...]:
    """The columns of the dead letter that a fault of a write or a step leaves."""
    error = fault if isinstance(fault, EventError) else classify_error(fault)
    if error is not fault:
        error.__cause__ = fault
    return DeadLetters("m", "1", ENCRYPTOR)._row(DeadLetter(MESSAGE, error))


def raised(value: str, how: str) -> BaseException:
    """A fault that holds the value, raised where a plugin or a write would raise it."""
    try:
        if how == "step":
            try:
                int(value + "x")
            except ValueError as fault:
                raise StepError("p", "sink_map", f"raised {type(fault).__name__}") from fault
        if how == "key":
            {}[value]
        return ValueError(value)
    except Exception as fault:  # noqa: BLE001 - that is what is made here
        return fault


@given(
    st.text("abcdefghijklmnopqrstuvwxyz\n\"'\\{}\u0905", min_size=12, max_size=30),
    st.sampled_from(["step", "value"]),
)
def test_no_value_is_in_clear_in_dead_letter(value: str, how: str) -> None:
    row = dead_letter_of(raised(value, how))
    assert not [part for part in row if isinstance(part, str) and value in part]
    assert not [p for p in row if isinstance(p, bytes) and value.encode() in p]


def test_trace_has_the_whole_chain() -> None:
    trace = dead_letter_of(raised("secret", "step"))[8].splitlines()
    classes = [line for line in trace if not line.startswith(" ")]
    assert [line.split(" (")[0].rsplit(".", 1)[-1] for line in classes] == [
        "StepError",
        "caused by ValueError",
    ]
    assert all("test_dead_letters.py:" in line for line in trace if line.startswith(" "))
    assert "secret" not in "".join(trace)


def test_text_of_plugin_own_error_is_not_kept() -> None:
    """An author may write anything into an EventError, a row's value too."""
    row = dead_letter_of(from_a_plugin(EventError("number 012345678901 is odd")))
    assert row[7] == "a plugin raised sink_runner.errors.EventError at <string>:1:<module>"
    assert "012345678901" not in row[8]


def from_a_plugin(error: EventError) -> EventError:
    """The error as it is caught when code outside the runner raised it."""
    space = {"error": error, "__name__": "sink_people"}
    try:
        exec("raise error", space)
    except EventError as caught:
        return caught
    raise AssertionError


def test_the_state_of_the_database_is_kept() -> None:
    row = DeadLetters("m", "1", ENCRYPTOR)._row(
        DeadLetter(MESSAGE, WriteError("refused", sqlstate="22001"))
    )
    assert row[5:8] == ("WriteError", "22001", "refused")
    assert row[-3:] == ("one", "1", "OPEN")


@pytest.mark.parametrize(
    ("error", "status"), [(WaitingError("not yet"), "PARKED"), (ExpiredError("never"), "OPEN")]
)
def test_what_only_waits_is_deferred(error: EventError, status: str) -> None:
    assert DeadLetters("m", "1", ENCRYPTOR)._row(DeadLetter(MESSAGE, error))[-1] == status


def test_row_of_batch_is_of_no_partition() -> None:
    dead_letter = DeadLetter(MESSAGE._replace(partition=ROWS), EventError("why"))
    assert DeadLetters("m", "1", ENCRYPTOR)._row(dead_letter)[2] is None
