"""The bar: where somebody looks, and nowhere else."""

import io

import pytest
from rich.console import Console

from sink_runner.batch.progress import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_terminals_only(terminal) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=120, _environ={})
    with Progress("apples", console) as progress:
        progress.expect(200)
        progress.advance(50)
    assert ("apples" in shown.getvalue() and "50/200" in shown.getvalue()) == terminal
    assert terminal or not shown.getvalue()


def test_progress_never_exceeds_all() -> None:
    shown = io.StringIO()
    with Progress("apples", Console(file=shown, force_terminal=True, width=120)) as progress:
        progress.expect(10)
        progress.advance(30)
    assert "30/30" in shown.getvalue()
