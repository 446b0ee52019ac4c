"""Which records a worker takes, and whose partitions it writes."""

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
    def test_only_what_the_database_says_counts(self, stage: Any, committed: int) -> None:
        for number in range(3):
            stage.broker.send(0, number)
        with stage.running():
            stage.until([0, 1, 2])
        stage.broker.committed[0] = committed
        for number in range(3, 6):
            stage.broker.send(0, number)
        worker, consumer, stop = stage.worker("one")
        with stage.run(worker, stop):
            stage.until([0, 1, 2, 3, 4, 5])
        assert consumer.sought[0] == (0, 3)

    def test_position_that_moves_by_itself_is_put_right(self, stage: Any) -> None:
        stage.broker.send(0, 0)
        worker, consumer, stop = stage.worker(most=1)
        with stage.run(worker, stop):
            stage.until([0])
            consumer.positions[0] = 3
            for number in range(1, 6):
                stage.broker.send(0, number)
            stage.until(list(range(6)))

    @pytest.mark.parametrize("applied", [None, 1])
    def test_a_rebalance_after_the_seek_skips_nothing(
        self, stage: Any, applied: int | None
    ) -> None:
        """Kafka's own offset may be ahead: the database may have been restored."""
        for number in range(4):
            stage.broker.send(0, number)
        stage.made.connection.execute("SELECT 1")
        with stage.made.connection.transaction():
            claim = stage.offsets("x").claim(stage.made.connection, [0])[0]
        stage.made.connection.execute(
            "UPDATE sink.partition_offset SET next_offset = %s WHERE topic_id = %s",
            (applied, stage.schema),
        )
        assert claim.next_offset is None
        stage.broker.committed[0] = 3
        worker, consumer, stop = stage.worker()
        seek = consumer.seek

        def moved(partition: int, offset: int | None) -> None:
            seek(partition, offset)
            if len(consumer.sought) == 1:
                stage.broker.share(one={0})

        consumer.seek = moved
        with stage.run(worker, stop):
            stage.until(list(range(applied or 0, 4)))

    def test_rebalance_while_rows_wait_for_company_repeats_nothing(self, stage: Any) -> None:
        stage.settings = replace(stage.settings, linger=0.2, max_batch_rows=100)
        for number in range(4):
            stage.broker.send(0, number)
        worker, consumer, stop = stage.worker(most=2)
        poll, moves = consumer.poll, []

        def moved(seconds: float) -> Any:
            found = poll(seconds)
            if found and consumer.sought and not moves:
                moves.append(found)
                stage.broker.share(one={0})
            return found

        consumer.poll = moved
        with stage.run(worker, stop) as running:
            stage.until([0, 1, 2, 3])
        assert running.fault is None
        committed = [int(seen.split()[1]) for seen in stage.watcher.seen if " " in seen]
        assert sum(committed) == 4

    @pytest.mark.parametrize("first", [0, 3])
    def test_offsets_without_records_are_passed_over(self, stage: Any, first: int) -> None:
        stage.broker.send(0, 0, offset=first)
        stage.broker.starts[0] = 0
        stage.broker.send(0, 1, offset=7)
        with stage.running(most=1) as running:
            stage.until([0, 1])
        assert running.fault is None

    @pytest.mark.parametrize("sent", [True, False])
    def test_records_that_kafka_no_longer_holds_stop_mapping(
        self, stage: Any, *, sent: bool
    ) -> None:
        stage.broker.send(0, 0)
        with stage.running():
            stage.until([0])
        earlier = Offsets("staged", Topic("c", "topic", f"{stage.schema} before"), "one")
        with stage.made.connection.transaction():
            epoch = earlier.claim(stage.made.connection, [0])[0].epoch
            earlier.advance(stage.made.connection, [Advance(0, epoch, None, 1)])
        stage.broker.logs[0].clear()
        stage.broker.starts[0] = 9
        if sent:
            stage.broker.send(0, 9, offset=9)
        with stage.running() as running:
            running.join(10)
        assert isinstance(running.fault, FatalError)
        assert "retention" in str(running.fault)
        assert "`sink-runner batch staged --full`" in str(running.fault)
        assert stage.audit() == [0]
        (way_out,) = re.findall("UPDATE .* = 1(?= in)", str(running.fault))
        assert stage.made.connection.execute(way_out).rowcount == 1
        with stage.running() as running:
            stage.until([0, 9] if sent else [0])
        assert running.fault is None


class TestOwnership:
    @pytest.mark.parametrize("sent", [0, 2])
    def test_log_shorter_than_offset_stops_mapping(self, stage: Any, sent: int) -> None:
        """Kafka lost its end while nobody looked; new records would be taken for old ones."""
        for number in range(5):
            stage.broker.send(0, number)
        with stage.running():
            stage.until([0, 1, 2, 3, 4])
        del stage.broker.logs[0][1:]
        for number in range(5, 5 + sent):
            stage.broker.send(0, number)
        with stage.running() as running:
            running.join(5)
        assert isinstance(running.fault, FatalError)
        assert f"log ends at {1 + sent}" in str(running.fault)
        assert stage.audit() == [0, 1, 2, 3, 4]

    def test_log_truncated_while_read_stops_mapping(self, stage: Any) -> None:
        for number in range(5):
            stage.broker.send(0, number)
        worker, consumer, stop = stage.worker()
        with stage.run(worker, stop) as running:
            stage.until([0, 1, 2, 3, 4])
            del stage.broker.logs[0][1:]
            stage.broker.send(0, 5)
            consumer.positions[0] = 0  # as Kafka has it then
            running.join(5)
        assert isinstance(running.fault, FatalError)

    def test_fenced_worker_claims_again_what_is_its_own(self, stage: Any) -> None:
        stage.log(2)
        with stage.running() as running:
            for number in range(6):
                stage.broker.send(number % 2, number)
            stage.until(list(range(6)))
            stage.broker.share(one={1})
            with stage.made.connection.transaction():
                theirs = stage.offsets("two").claim(stage.made.connection, [0, 1])
            for number in range(6, 12):
                stage.broker.send(number % 2, number)
            stage.until([*range(6), 7, 9, 11])
            assert running.fault is None
        epochs = stage.made.scratch.admin.execute(
            "SELECT partition, epoch FROM sink.partition_offset WHERE topic_id = %s",
            (stage.schema,),
        ).fetchall()
        assert dict(epochs) == {0: theirs[0].epoch, 1: theirs[1].epoch + 1}

    def test_a_partition_may_go_while_it_is_claimed(self, stage: Any) -> None:
        stage.log(2)
        stage.broker.send(0, 0)
        stage.broker.send(1, 1)
        worker, _, stop = stage.worker()
        claim = worker._committer.claim

        def slow(partitions: set[int]) -> Any:
            stage.broker.share(one={0})
            time.sleep(0.5)
            return claim(partitions)

        worker._committer.claim = slow
        with stage.run(worker, stop) as running:
            stage.until([0])
        assert running.fault is None
        assert stage.audit() == [0]
