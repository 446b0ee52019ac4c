"""Apply changed policies to a running mapping between two batches, or stop it."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ConfigError, FatalError
from .policy import Policies


class Refresh:
    """Called between two batches, by the thread that transforms them."""

    def __init__(
        self,
        seen: Policies,
        current: Callable[[], Policies],
        mask_by: Callable[[Policies], None],
    ) -> None:
        """`seen` are the policies with which the mapping was compiled.

        `mask_by` raises ConfigError if a personal column would have no policy.
        """
        self._seen = seen
        self._current = current
        self._mask_by = mask_by

    def __call__(self) -> bool:
        """Return whether the policies have changed.

        Raises StalePoliciesError while they are too old, FatalError if they leave a personal column
        without a mask.
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
