"""Frozen steps against pluggy, which they stand for."""

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
    """A plugin whose hook is named like the function."""
    return SimpleNamespace(**{call.__name__: hookimpl(call, **options)})


def chain(*plugins: Any) -> Chain:
    manager = new_manager()
    for number, made in enumerate(plugins):
        manager.register(made, f"p{number}")
    return Chain.from_manager(manager, CONTEXTS)


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_pluggys_own(seed: int) -> None:
    rng = random.Random(seed)
    called: list[int] = []

    def made(number: int) -> Any:
        def sink_filter(event: Any) -> FilterResult:
            called.append(number)
            return FilterResult.PASS

        first, last = rng.choice([(False, False), (True, False), (False, True)])
        return plugin(sink_filter, tryfirst=first, trylast=last)

    manager = new_manager()
    for number in range(8):
        manager.register(made(number), f"p{number}")
    manager.hook.sink_filter(event=None, ctx=None)
    pluggys, called = called, []
    for step in Chain.from_manager(manager, CONTEXTS).filters:
        called.append(int(step.plugin[1:]))
    assert called == pluggys


class TestArguments:
    def test_hook_gets_columns_in_named_order(self) -> None:
        seen = []

        def none() -> FilterResult:
            return FilterResult.PASS

        def one(event: Any) -> FilterResult:
            seen.append(event)
            return FilterResult.PASS

        def context(ctx: Context) -> FilterResult:
            seen.append(ctx)
            return FilterResult.PASS

        def turned(ctx: Context, event: Any) -> FilterResult:
            seen.append((ctx, event))
            return FilterResult.PASS

        for function in (none, one, context, turned):
            function.__name__ = "sink_filter"
            chain(plugin(function)).filter("event")
        assert seen == ["event", "ctx", ("ctx", "event")]

    def test_each_gets_what_the_one_before_returned(self) -> None:
        def sink_map(event: Any, row: dict) -> dict:
            return row | {"n": row["n"] + [event]}

        def sink_map_2(row: dict, ctx: Any) -> dict:
            return {"n": row["n"] + [ctx]}

        sink_map_2.__name__ = "sink_map"
        row = chain(plugin(sink_map), plugin(sink_map_2)).map("event", {"n": []})
        assert row == {"n": ["ctx", "event"]}


class TestAnswers:
    def test_the_first_that_is_not_pass_holds(self) -> None:
        results = []

        def made(result: FilterResult) -> Any:
            def sink_filter(event: Any) -> FilterResult:
                results.append(result)
                return result

            return plugin(sink_filter)

        frozen = chain(made(FilterResult.REMOVE), made(FilterResult.DROP), made(FilterResult.PASS))
        assert frozen.filter(None) is FilterResult.DROP
        assert results == [FilterResult.PASS, FilterResult.DROP]

    def test_no_plugin_means_pass_and_incoming_row(self) -> None:
        assert chain().filter(None) is FilterResult.PASS
        assert chain().resolve({"a": 1}, {"a": 2}) == {"a": 1}

    @pytest.mark.parametrize("answer", [True, False, None, 1, "PASS"])
    def test_filter_without_a_result_is_at_fault(self, answer: Any) -> None:
        def sink_filter(event: Any) -> Any:
            return answer

        with pytest.raises(StepError, match="'p0' did not return a FilterResult"):
            chain(plugin(sink_filter)).filter(None)

    @pytest.mark.parametrize("answer", [None, True, [("a", 1)], "row"])
    def test_map_gives_row_or_it_is_at_fault(self, answer: Any) -> None:
        def sink_map(event: Any, row: dict) -> Any:
            return answer

        with pytest.raises(StepError, match="'p0' returned"):
            chain(plugin(sink_map)).map(None, {})


class TestFaults:
    @pytest.mark.parametrize("kind", [EventError, RetriableError, FatalError])
    def test_the_runners_own_pass(self, kind: type[Exception]) -> None:
        def sink_filter(event: Any) -> FilterResult:
            raise kind("why")

        with pytest.raises(kind, match=r"^why$"):
            chain(plugin(sink_filter)).filter(None)

    @pytest.mark.parametrize("kind", [ConnectionError, TimeoutError, OSError, MemoryError])
    def test_error_of_no_row_is_retried(self, kind: type[Exception]) -> None:
        def sink_map(event: Any, row: Any) -> Any:
            raise kind("secret")

        with pytest.raises(RetriableError) as caught:
            chain(plugin(sink_map)).map(None, {})
        assert str(caught.value) == f"sink_map of plugin 'p0' raised {kind.__name__}"

    @pytest.mark.parametrize("row", [{"at": 2**62}, {"file": "nowhere"}], ids=str)
    def test_os_error_may_be_row_own(self, row: Any) -> None:
        def sink_map(event: Any, row: Any) -> Any:
            return (
                datetime.fromtimestamp(row["at"], UTC)
                if "at" in row
                else Path(row["file"]).read_text()
            )

        with pytest.raises(StepError):
            chain(plugin(sink_map)).map(None, row)

    def test_any_other_is_named_without_its_words(self) -> None:
        def sink_filter(event: Any) -> FilterResult:
            raise LookupError("secret")

        with pytest.raises(StepError) as caught:
            chain(plugin(sink_filter)).filter(None)
        assert str(caught.value) == "sink_filter of plugin 'p0' raised LookupError"
        assert isinstance(caught.value.__cause__, LookupError)

    def test_a_wrapper_is_refused(self) -> None:
        def sink_filter(event: Any) -> Any:
            return (yield)

        with pytest.raises(PluginError, match="wrapper"):
            chain(plugin(sink_filter, wrapper=True))
