"""Chains of hooks, which replace pluggy's calls, behave as pluggy does."""

import random
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.errors import EventError, FatalError, PluginError, RetriableError, StepError
from sink_runner.loading.discovery import new_manager
from sink_runner.plugin import Context, FilterResult, hookimpl
from sink_runner.transform.steps import Chain

CONTEXTS = defaultdict(lambda: "ctx")


def plugin(call: Any, **options: bool) -> SimpleNamespace:
    """Return a plugin with one hook, which has the name of the function."""
    return SimpleNamespace(**{call.__name__: hookimpl(call, **options)})


def chain(*plugins: Any) -> Chain:
    manager = new_manager()
    for number, plugin_ in enumerate(plugins):
        manager.register(plugin_, f"p{number}")
    return Chain.from_manager(manager, CONTEXTS)


@pytest.mark.parametrize("seed", range(20))
def test_order_is_that_of_pluggy(seed: int) -> None:
    rng = random.Random(seed)
    order: list[int] = []

    def create_plugin(number: int) -> Any:
        def sink_filter(event: Any) -> FilterResult:
            order.append(number)
            return FilterResult.PASS

        first, last = rng.choice([(False, False), (True, False), (False, True)])
        return plugin(sink_filter, tryfirst=first, trylast=last)

    manager = new_manager()
    for number in range(8):
        manager.register(create_plugin(number), f"p{number}")
    manager.hook.sink_filter(event=None, ctx=None)
    chained = Chain.from_manager(manager, CONTEXTS).filters
    assert [int(step.plugin[1:]) for step in chained] == order


class TestArguments:
    def test_hook_gets_arguments_that_it_names(self) -> None:
        arguments = []

        def without() -> FilterResult:
            return FilterResult.PASS

        def with_event(event: Any) -> FilterResult:
            arguments.append(event)
            return FilterResult.PASS

        def with_context(ctx: Context) -> FilterResult:
            arguments.append(ctx)
            return FilterResult.PASS

        def with_both(ctx: Context, event: Any) -> FilterResult:
            arguments.append((ctx, event))
            return FilterResult.PASS

        for function in (without, with_event, with_context, with_both):
            function.__name__ = "sink_filter"
            chain(plugin(function)).filter("event")
        assert arguments == ["event", "ctx", ("ctx", "event")]

    def test_hook_gets_row_of_previous_hook(self) -> None:
        def sink_map(event: Any, row: dict) -> dict:
            return row | {"n": row["n"] + [event]}

        def sink_map_2(row: dict, ctx: Any) -> dict:
            return {"n": row["n"] + [ctx]}

        sink_map_2.__name__ = "sink_map"
        row = chain(plugin(sink_map), plugin(sink_map_2)).map("event", {"n": []})
        assert row == {"n": ["ctx", "event"]}


class TestResults:
    def test_first_result_except_pass_wins(self) -> None:
        results = []

        def create_plugin(result: FilterResult) -> Any:
            def sink_filter(event: Any) -> FilterResult:
                results.append(result)
                return result

            return plugin(sink_filter)

        filters = chain(
            *map(create_plugin, (FilterResult.REMOVE, FilterResult.DROP, FilterResult.PASS))
        )
        assert filters.filter(None) is FilterResult.DROP
        assert results == [FilterResult.PASS, FilterResult.DROP]

    def test_chain_without_plugins_passes_row(self) -> None:
        assert chain().filter(None) is FilterResult.PASS
        assert chain().resolve({"a": 1}, {"a": 2}) == {"a": 1}

    @pytest.mark.parametrize("result", [True, False, None, 1, "PASS"])
    def test_filter_must_return_filter_result(self, result: Any) -> None:
        def sink_filter(event: Any) -> Any:
            return result

        with pytest.raises(StepError, match="'p0' did not return a FilterResult"):
            chain(plugin(sink_filter)).filter(None)

    @pytest.mark.parametrize("result", [None, True, [("a", 1)], "row"])
    def test_map_must_return_row(self, result: Any) -> None:
        def sink_map(event: Any, row: dict) -> Any:
            return result

        with pytest.raises(StepError, match="'p0' returned"):
            chain(plugin(sink_map)).map(None, {})


class TestErrors:
    @pytest.mark.parametrize("kind", [EventError, RetriableError, FatalError])
    def test_errors_of_runner_pass_unchanged(self, kind: type[Exception]) -> None:
        def sink_filter(event: Any) -> FilterResult:
            raise kind("why")

        with pytest.raises(kind, match=r"^why$"):
            chain(plugin(sink_filter)).filter(None)

    @pytest.mark.parametrize("kind", [ConnectionError, TimeoutError, OSError, MemoryError])
    def test_error_of_environment_is_transient(self, kind: type[Exception]) -> None:
        def sink_map(event: Any, row: Any) -> Any:
            raise kind("secret")

        with pytest.raises(RetriableError) as caught:
            chain(plugin(sink_map)).map(None, {})
        assert str(caught.value) == f"sink_map of plugin 'p0' raised {kind.__name__}"

    @pytest.mark.parametrize("row", [{"at": 2**62}, {"file": "nowhere"}], ids=str)
    def test_os_error_may_be_data_error(self, row: Any) -> None:
        def sink_map(event: Any, row: Any) -> Any:
            return (
                datetime.fromtimestamp(row["at"], UTC)
                if "at" in row
                else Path(row["file"]).read_text()
            )

        with pytest.raises(StepError):
            chain(plugin(sink_map)).map(None, row)

    def test_other_error_is_named_without_its_text(self) -> None:
        def sink_filter(event: Any) -> FilterResult:
            raise LookupError("secret")

        with pytest.raises(StepError) as caught:
            chain(plugin(sink_filter)).filter(None)
        assert str(caught.value) == "sink_filter of plugin 'p0' raised LookupError"
        assert isinstance(caught.value.__cause__, LookupError)

    def test_wrapper_is_refused(self) -> None:
        def sink_filter(event: Any) -> Any:
            return (yield)

        with pytest.raises(PluginError, match="wrapper"):
            chain(plugin(sink_filter, wrapper=True))
