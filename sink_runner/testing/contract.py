"""The tests that every mapping plugin has to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sink_runner.model.changes import Write

from .events import Sample
from .harness import Harness

_MIN_LENGTH = 4
"""A text of at least this many characters is not part of a longer one by chance."""


class MappingContract:
    """Subclass it with the plugin's name and a few sample events; pytest collects the tests."""

    plugin: ClassVar[str]
    samples: ClassVar[Sequence[Sample]]
    broken: ClassVar[Sequence[tuple[Sample, str]]] = ()
    """Events that break a quality rule, each with the rule's name."""
    policies: ClassVar[Path | None] = None
    """The folder of the masking policies; without one nothing is masked by policy."""
    config: ClassVar[Mapping[str, Any] | None] = None
    personal: ClassVar[frozenset[str]] = frozenset()
    """Source columns whose unmasked values must not be in any target row."""

    @pytest.fixture
    def sink(self) -> Harness:
        return Harness(self.plugin, policies=self.policies, config=self.config)

    @pytest.fixture
    def rows(self, sink: Harness) -> list[Write]:
        rows = [
            change
            for sample in self.samples
            for change in sink.apply(sample).changes
            if isinstance(change, Write)
        ]
        assert rows, "no sample gave a row to write; add one that does"
        return rows

    def test_no_sample_is_a_fault(self, sink: Harness) -> None:
        """Every sample event is transformed without an error."""
        assert [sink.send(sample).error for sample in self.samples] == [None] * len(self.samples)

    def test_what_breaks_a_rule_is_refused_by_its_name(self, sink: Harness) -> None:
        """The event is a dead letter under that rule, and nothing of it is written."""
        outcomes = [sink.send(sample) for sample, _ in self.broken]
        assert [outcome.rule for outcome in outcomes] == [rule for _, rule in self.broken]
        assert not any(outcome.rows or outcome.leaves for outcome in outcomes)

    def test_rows_carry_their_key(self, rows: Sequence[Write]) -> None:
        """A row without its key could not be updated later."""
        assert all(part is not None for row in rows for part in row.key)

    def test_the_same_event_gives_the_same_change(self, sink: Harness) -> None:
        """A batch may be written again after a crash: hooks must be pure."""
        for sample in self.samples:
            once, again = sink.send(sample), sink.send(sample)
            assert (once.rows, once.leaves) == (again.rows, again.leaves)

    def test_personal_values_are_not_in_clear(self, sink: Harness, rows: Sequence[Write]) -> None:
        """No unmasked value of a personal column is in any column of any row."""
        del sink
        clear = {
            str(row[column])
            for sample in self.samples
            for row in (sample.before or {}, sample.after or {})
            for column in self.personal
            if row.get(column) is not None
        }
        written = {str(value) for row in rows for value in row.values}
        long = {value for value in clear if len(value) >= _MIN_LENGTH}
        assert not clear & written
        assert not {value for value in long if any(value in text for text in written)}

    def test_masking_does_not_depend_on_the_batch(self, sink: Harness) -> None:
        """An event gives the same rows in a batch of its own and beside others."""
        single = [change[1] for s in self.samples for change in sink.apply(s).changes]
        together = [change[1] for change in sink.apply(*self.samples).changes]
        assert single == together
