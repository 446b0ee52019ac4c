"""One mapping's part in a change of the policies: other masks from the next batch on, or a stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from ..errors import AccessError, ConfigError, FatalError, RetriableError
from ..kafka.feed import Feed
from .policy import Policies


class Refresh:
    """Called between two batches, by the thread that maps them."""

    def __init__(
        self,
        seen: Policies,
        current: Callable[[], Policies],
        mask_by: Callable[[Policies], None],
    ) -> None:
        """`seen` are those that the mapping was put together with.

        `mask_by` raises ConfigError where a personal column would have no policy.
        """
        self._seen = seen
        self._current = current
        self._mask_by = mask_by

    def __call__(self) -> bool:
        """Tell whether the policies are others.

        Raises StalePoliciesError while they are too old, FatalError where they leave a personal
        column without a mask.
        """
        found = self._current()
        if found is self._seen:
            return False
        try:
            self._mask_by(found)
        except ConfigError as fault:
            raise FatalError(
                f"the masking policies have changed (version {found.version}): {fault}"
            ) from fault
        self._seen = found
        return True


def after_polls(open_feed: Callable[[], Feed], refresh: Callable[[], object]) -> Callable[[], Feed]:
    """A feed that calls `refresh` whenever it was polled, which is between two batches.

    After a poll, not before: what came while it waited is masked as the policies say by now.
    """
    # It has all that the feed has, but that can't be told to the type checker.
    return lambda: cast("Feed", _PolledFeed(open_feed(), refresh))


class _PolledFeed:
    def __init__(self, feed: Feed, refresh: Callable[[], object]) -> None:
        self._feed = feed
        self._refresh = refresh
        self._held: Any = None
        """What was polled and must wait, since the policies cannot be used now."""

    def poll(self, seconds: float) -> Any:
        found, self._held = self._held or self._feed.poll(seconds), None
        try:
            self._refresh()
        except RetriableError:
            self._held = found
            with suppress(AccessError, RetriableError):  # the next poll will tell
                self._feed.keep_alive()
            raise
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)
