"""The progress bar is printed on terminals only."""

import io

import pytest
from rich.console import Console

from sink_runner.batch.progress import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_printed_on_terminals_only(terminal) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, _environ={})
    with Progress("apples", console) as progress:
        progress.expect(200)
        progress.advance(50)
    assert ("apples" in output.getvalue() and "50/200" in output.getvalue()) == terminal
    assert terminal or not output.getvalue()


def test_progress_never_exceeds_total() -> None:
    output = io.StringIO()
    with Progress("apples", Console(file=output, force_terminal=True, width=120)) as progress:
        progress.expect(10)
        progress.advance(30)
    assert "30/30" in output.getvalue()
