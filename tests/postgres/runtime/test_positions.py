"""The offsets from which a worker reads, and the partitions that it owns."""

import re
import time
from dataclasses import replace
from typing import Any

import pytest

from sink_runner.errors import FatalError
from sink_runner.model.partition import Advance, Topic
from sink_runner.writer.offsets import Offsets

pytestmark = pytest.mark.postgres


class TestPositions:
    @pytest.mark.parametrize("committed", [0, 2, 5])
    def test_offset_in_database_overrides_kafka(self, harness: Any, committed: int) -> None:
        for number in range(3):
            harness.broker.send(0, number)
        with harness.running():
            harness.wait_for([0, 1, 2])
        harness.broker.committed[0] = committed
        for number in range(3, 6):
            harness.broker.send(0, number)
        worker, consumer, stop = harness.worker("one")
        with harness.run(worker, stop):
            harness.wait_for([0, 1, 2, 3, 4, 5])
        assert consumer.seeks[0] == (0, 3)

    def test_unexpected_position_is_corrected(self, harness: Any) -> None:
        harness.broker.send(0, 0)
        worker, consumer, stop = harness.worker(max_records=1)
        with harness.run(worker, stop):
            harness.wait_for([0])
            consumer.positions[0] = 3
            for number in range(1, 6):
                harness.broker.send(0, number)
            harness.wait_for(list(range(6)))

    @pytest.mark.parametrize("applied", [None, 1])
    def test_rebalance_after_seek_skips_nothing(self, harness: Any, applied: int | None) -> None:
        """Kafka's committed offset is ahead of the database, as after a restore."""
        for number in range(4):
            harness.broker.send(0, number)
        harness.target.connection.execute("SELECT 1")
        with harness.target.connection.transaction():
            claim = harness.offsets("x").claim(harness.target.connection, [0])[0]
        harness.target.connection.execute(
            "UPDATE sink.partition_offset SET next_offset = %s WHERE topic_id = %s",
            (applied, harness.schema),
        )
        assert claim.next_offset is None
        harness.broker.committed[0] = 3
        worker, consumer, stop = harness.worker()
        seek = consumer.seek

        def seek_and_rebalance(partition: int, offset: int | None) -> None:
            seek(partition, offset)
            if len(consumer.seeks) == 1:
                harness.broker.assign(one={0})

        consumer.seek = seek_and_rebalance
        with harness.run(worker, stop):
            harness.wait_for(list(range(applied or 0, 4)))

    def test_rebalance_while_rows_linger_repeats_nothing(self, harness: Any) -> None:
        harness.settings = replace(harness.settings, linger=0.2, max_batch_rows=100)
        for number in range(4):
            harness.broker.send(0, number)
        worker, consumer, stop = harness.worker(max_records=2)
        poll, rebalances = consumer.poll, []

        def poll_and_rebalance(seconds: float) -> Any:
            found = poll(seconds)
            if found and consumer.seeks and not rebalances:
                rebalances.append(found)
                harness.broker.assign(one={0})
            return found

        consumer.poll = poll_and_rebalance
        with harness.run(worker, stop) as running:
            harness.wait_for([0, 1, 2, 3])
        assert running.error is None
        committed = [int(call.split()[1]) for call in harness.hooks.calls if " " in call]
        assert sum(committed) == 4

    @pytest.mark.parametrize("first", [0, 3])
    def test_offsets_without_records_are_skipped(self, harness: Any, first: int) -> None:
        harness.broker.send(0, 0, offset=first)
        harness.broker.log_starts[0] = 0
        harness.broker.send(0, 1, offset=7)
        with harness.running(max_records=1) as running:
            harness.wait_for([0, 1])
        assert running.error is None

    @pytest.mark.parametrize("sent", [True, False])
    def test_records_deleted_by_retention_stop_mapping(self, harness: Any, *, sent: bool) -> None:
        harness.broker.send(0, 0)
        with harness.running():
            harness.wait_for([0])
        earlier = Offsets("staged", Topic("c", "topic", f"{harness.schema} before"), "one")
        with harness.target.connection.transaction():
            epoch = earlier.claim(harness.target.connection, [0])[0].epoch
            earlier.advance(harness.target.connection, [Advance(0, epoch, None, 1)])
        harness.broker.logs[0].clear()
        harness.broker.log_starts[0] = 9
        if sent:
            harness.broker.send(0, 9, offset=9)
        with harness.running() as running:
            running.join(60)
        assert isinstance(running.error, FatalError)
        assert "retention" in str(running.error)
        assert "`sink-runner batch staged --full`" in str(running.error)
        assert harness.written_ids() == [0]
        (remedy,) = re.findall("UPDATE .* = 1(?= in)", str(running.error))
        assert harness.target.connection.execute(remedy).rowcount == 1
        with harness.running() as running:
            harness.wait_for([0, 9] if sent else [0])
        assert running.error is None


class TestOwnership:
    @pytest.mark.parametrize("sent", [0, 2])
    def test_log_shorter_than_offset_stops_mapping(self, harness: Any, sent: int) -> None:
        """Kafka lost the end of the log between two runs; its new records would be skipped."""
        for number in range(5):
            harness.broker.send(0, number)
        with harness.running():
            harness.wait_for([0, 1, 2, 3, 4])
        del harness.broker.logs[0][1:]
        for number in range(5, 5 + sent):
            harness.broker.send(0, number)
        with harness.running() as running:
            running.join(60)
        assert isinstance(running.error, FatalError)
        assert f"log ends at {1 + sent}" in str(running.error)
        assert harness.written_ids() == [0, 1, 2, 3, 4]

    def test_log_truncated_while_read_stops_mapping(self, harness: Any) -> None:
        for number in range(5):
            harness.broker.send(0, number)
        worker, consumer, stop = harness.worker()
        with harness.run(worker, stop) as running:
            harness.wait_for([0, 1, 2, 3, 4])
            del harness.broker.logs[0][1:]
            harness.broker.send(0, 5)
            consumer.positions[0] = 0  # as Kafka resets it
            running.join(60)
        assert isinstance(running.error, FatalError)

    def test_fenced_worker_reclaims_assigned_partitions(self, harness: Any) -> None:
        harness.use_partitions(2)
        with harness.running() as running:
            for number in range(6):
                harness.broker.send(number % 2, number)
            harness.wait_for(list(range(6)))
            harness.broker.assign(one={1})
            with harness.target.connection.transaction():
                other_claims = harness.offsets("two").claim(harness.target.connection, [0, 1])
            for number in range(6, 12):
                harness.broker.send(number % 2, number)
            harness.wait_for([*range(6), 7, 9, 11])
            assert running.error is None
        epochs = harness.target.scratch.admin.execute(
            "SELECT partition, epoch FROM sink.partition_offset WHERE topic_id = %s",
            (harness.schema,),
        ).fetchall()
        assert dict(epochs) == {0: other_claims[0].epoch, 1: other_claims[1].epoch + 1}

    def test_partition_may_be_revoked_during_claim(self, harness: Any) -> None:
        harness.use_partitions(2)
        harness.broker.send(0, 0)
        harness.broker.send(1, 1)
        worker, _, stop = harness.worker()
        claim = worker._committer.claim

        def claim_slowly(partitions: set[int]) -> Any:
            harness.broker.assign(one={0})
            time.sleep(0.5)
            return claim(partitions)

        worker._committer.claim = claim_slowly
        with harness.run(worker, stop) as running:
            harness.wait_for([0])
        assert running.error is None
        assert harness.written_ids() == [0]
