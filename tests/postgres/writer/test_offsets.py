"""The stored offset of a partition, and the epoch of its owner."""

from typing import Any

import pytest

from sink_runner.errors import FencedError
from sink_runner.model.partition import Advance, Claim, Topic
from sink_runner.writer.offsets import Offsets

pytestmark = pytest.mark.postgres


@pytest.fixture
def session(scratch: Any) -> Any:
    return scratch.session()


def offsets(scratch: Any, **changed: str) -> Offsets:
    named = {"cluster_id": "c", "name": scratch.schema, "topic_id": "t", **changed}
    mapping = named.pop("mapping", "offsets")
    return Offsets(mapping, Topic(**named), "me")


def test_claim_returns_offset_and_raises_epoch(scratch: Any, session: Any) -> None:
    mine = offsets(scratch)
    assert mine.claim(session, [1, 0]) == {0: Claim(1, None), 1: Claim(1, None)}
    mine.advance(session, [Advance(1, 1, None, 7)])
    assert mine.claim(session, [1]) == {1: Claim(2, 7)}


@pytest.mark.parametrize("changed", ["mapping", "cluster_id", "topic_id"])
def test_other_topic_id_has_own_offsets(scratch: Any, session: Any, changed: str) -> None:
    mine = offsets(scratch)
    mine.claim(session, [0])
    mine.advance(session, [Advance(0, 1, None, 7)])
    other = offsets(scratch, **{changed: "other"})
    assert other.claim(session, [0]) == {0: Claim(1, None)}
    other.advance(session, [Advance(0, 1, None, 3)])
    assert mine.claim(session, [0]) == {0: Claim(2, 7)}


@pytest.mark.parametrize(
    "step",
    [Advance(0, 2, 5, 9), Advance(0, 0, 5, 9), Advance(0, 1, None, 9), Advance(0, 1, 4, 9)],
    ids=["later epoch", "earlier epoch", "expected nothing", "expected less"],
)
def test_advance_from_other_offset_or_epoch_is_fenced(
    scratch: Any, session: Any, step: Advance
) -> None:
    mine = offsets(scratch)
    mine.claim(session, [0, 1])
    mine.advance(session, [Advance(0, 1, None, 5)])
    with pytest.raises(FencedError, match="1 of 2"), session.transaction():
        mine.advance(session, [step, Advance(1, 1, None, 9)])
    assert mine.claim(session, [0, 1]) == {0: Claim(2, 5), 1: Claim(2, None)}


def test_claim_returns_the_stored_leader_epoch(scratch: Any, session: Any) -> None:
    mine = offsets(scratch)
    mine.claim(session, [0])
    mine.advance(session, [Advance(0, 1, None, 5, leader_epoch=3)])
    assert mine.claim(session, [0]) == {0: Claim(2, 5, leader_epoch=3)}


def test_unclaimed_partition_is_fenced(scratch: Any, session: Any) -> None:
    with pytest.raises(FencedError):
        offsets(scratch).advance(session, [Advance(0, 1, None, 9)])


def test_applied_reports_committed_steps(scratch: Any, session: Any) -> None:
    mine = offsets(scratch)
    mine.claim(session, [0, 1])
    steps = [Advance(0, 1, None, 5), Advance(1, 1, None, 6)]
    assert not mine.applied(session, steps)
    mine.advance(session, steps)
    assert mine.applied(session, steps)
    assert not mine.applied(session, [steps[0]._replace(next_offset=4), steps[1]])
    mine.claim(session, [1])
    assert not mine.applied(session, steps)
