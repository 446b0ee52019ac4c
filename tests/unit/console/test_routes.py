"""A request that the console cannot carry out is refused, and not reported as an outage."""

from typing import Any, cast

import pytest
from fastapi.routing import APIRoute

from sink_runner.api.callers import Caller
from sink_runner.api.problems import ProblemError
from sink_runner.console.details import Details
from sink_runner.console.models import EventChoice
from sink_runner.console.routes import routes
from sink_runner.errors import ConfigError


class OtherKey(Details):
    """Details of one mapping, whose source has another key."""

    def find(self, name: str) -> Any:
        return name

    def explain(self, *_: Any) -> Any:
        raise ConfigError("the key is not of the columns a, b")


def test_key_of_other_columns_is_refused() -> None:
    unused = cast(Any, None)
    router = routes(OtherKey(unused, unused, {}), unused)
    (explain,) = (
        one.endpoint
        for one in router.routes
        if isinstance(one, APIRoute) and one.operation_id == "explain_event"
    )
    caller = Caller(name="ada", scopes=frozenset({"observe"}), group="")
    with pytest.raises(ProblemError) as refused:
        explain("apples", EventChoice(key="1"), caller)
    assert refused.value.status == 409
