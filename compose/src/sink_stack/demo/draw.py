"""Random choices that repeat: one source for each family, made from the seed and its index."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")
Weights = Sequence[tuple[T, int]]

_DAY_SECONDS = 24 * 60 * 60


class Draw:
    """What one family draws. Times count back from `as_of`, which is UTC without a zone."""

    def __init__(self, seed: int, index: int, as_of: datetime) -> None:
        self.as_of = as_of
        # Nothing secret is made of it, and a secure source could not repeat.
        self._random = random.Random(f"{seed}/{index}")  # noqa: S311

    def uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)

    def chance(self, percent: int) -> bool:
        return self._random.random() * 100 < percent

    def number(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return low + int(self._random.random() * (high - low + 1))

    def score(self, low: float = 0.0, high: float = 1.0) -> str:
        """A decimal with four places, as text: no binary fraction gets into the database."""
        return f"{low + self._random.random() * (high - low):.4f}"

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[int(self._random.random() * len(choices))]

    def weighted(self, choices: Weights[T]) -> T:
        """One of (choice, percent) pairs."""
        left = self._random.random() * sum(weight for _, weight in choices)
        for choice, weight in choices:
            left -= weight
            if left < 0:
                return choice
        return choices[-1][0]

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """Several different ones, in random order."""
        return self._random.sample(choices, min(count, len(choices)))

    def ago(self, days: float, at_least: float = 0.0) -> datetime:
        """A time between `at_least` and `days` days before `as_of`."""
        back = at_least + self._random.random() * (days - at_least)
        return self.as_of - timedelta(seconds=back * _DAY_SECONDS)

    def after(self, moment: datetime, days: float) -> datetime:
        """A time after `moment`, by at most `days` days, and never after `as_of`."""
        span = min(timedelta(days=days), self.as_of - moment)
        return moment + span * self._random.random()
