"""A gauge whose series are replaced as a whole, such as by the rows of a query."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector


class GaugeTable(Collector):
    """Holds the series of the last report of each source; a source is, for example, a database."""

    def __init__(self, name: str, meaning: str, labels: Collection[str]) -> None:
        self._name, self._meaning, self._labels = name, meaning, tuple(labels)
        self._rows: dict[str, Sequence[Sequence[Any]]] = {}
        self._lock = threading.Lock()

    def report(self, source: str, rows: Iterable[Sequence[Any]] = ()) -> None:
        """Replace the series of a source; each row has the labels' values and then the number."""
        with self._lock:
            self._rows[source] = list(rows)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self._name, self._meaning, labels=self._labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        (family,) = self.describe()
        with self._lock:
            rows = [row for rows in self._rows.values() for row in rows]
        for *labels, value in rows:
            family.add_metric([str(label) for label in labels], float(value))
        yield family
