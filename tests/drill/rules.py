"""Shortens the durations of the alert rules, so that a drill takes minutes and not days."""

import re

FACTOR = 120
"""Divides `for`, `keep_firing_for`, windows and offsets; thresholds stay as they are."""
SCRAPE_INTERVAL = "500ms"
"""A rate needs two samples in its window, and the window of five minutes becomes 2.5 s."""
_MILLISECONDS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:(?<=\[)|(?<=for: )|(?<=offset ))(\d+)([smhd])(?=[]):\s]|$)")


def shorten(rules: str) -> str:
    """Return the text of the rules with shortened durations."""
    return _DURATION.sub(_divide, rules)


def _divide(duration: re.Match[str]) -> str:
    return f"{int(duration[1]) * _MILLISECONDS[duration[2]] // FACTOR}ms"
