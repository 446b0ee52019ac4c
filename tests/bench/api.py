"""`make bench-api`: reads and callbacks at an even pace, as a portal and a model send them.

An open loop: a request is sent when its time has come, whatever became of those before it, and
its time counts from then.  A slow service cannot make its own figures better by being asked less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from random import Random

import httpx
from rich.console import Console
from rich.table import Table
from sink_stack import ports
from sink_stack.stack import sink_runner

from . import home as homes
from .home import SOURCE, Home
from .process import running

FAMILIES = 20_000
WARM_UP_SECONDS = 3
_ROOT = Path(__file__).parents[2]
_FILLED = "SELECT count(*) FROM public.golden_records WHERE city_village = 'bench-api'"
_FILL = """
WITH person AS (
  INSERT INTO public.golden_records (gr_id, full_name, jan_aadhaar, mobile_number, city_village)
  SELECT md5('bench-api' || n)::uuid, 'Asha ' || n, lpad(n::text, 12, '0'), lpad(n::text, 10, '0'),
         'bench-api'
  FROM generate_series(1, %(n)s) n RETURNING gr_id
), profile AS (
  INSERT INTO public.profile_360 (gr_id, profile_data, inferred_income_band)
  SELECT gr_id, '{}', 'LOW' FROM person
), scheme AS (
  INSERT INTO public.scheme_master (scheme_code, scheme_name, category)
  SELECT 'BENCH-' || s, 'Bench', 'FOOD' FROM generate_series(1, 6) s
), forecast AS (
  INSERT INTO forecast.benefit_forecasts (forecast_id, family_id, projections, generated_at)
  SELECT n, md5('bench-api' || n)::uuid, '[{"scheme_code": "BENCH-1"}]', now()
  FROM generate_series(1, %(n)s) n
)
SELECT 1
"""
_EVALUATE = """
INSERT INTO eligibility.eligibility_snapshots
  (family_id, member_id, scheme_code, evaluation_status, eligibility_score, explanation)
SELECT md5('bench-api' || n)::uuid, md5('member' || m || n)::uuid, 'BENCH-' || s, 'RULE_ELIGIBLE',
       0.5, 'because'
FROM generate_series(1, %(n)s) n, generate_series(1, 2) m, generate_series(1, 6) s
"""
Send = Callable[[int], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds from when a request was due to when it was answered."""

    name: str
    rate: float
    taken: Sequence[float]
    failed: int

    def at(self, share: float) -> float:
        return sorted(self.taken)[min(len(self.taken) - 1, int(len(self.taken) * share))]


def main() -> int:
    args = _arguments()
    with homes.opened() as home:
        _fill(home)
        home.stop_capture()
        with _serving(home) as (url, key):
            figures = asyncio.run(_measure(url, key, args.rate, args.seconds))
    _print(figures)
    return 1 if any(one.failed for one in figures) else 0


async def _measure(url: str, key: str, rate: float, seconds: float) -> list[Figures]:
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        kinds: dict[str, Send] = {
            "eligibility": lambda n: client.get(f"/v1/families/{_family(n)}/eligibility"),
            "forecast": lambda n: client.get(f"/v1/families/{_family(n)}/forecast"),
            "profile": lambda n: client.get(f"/v1/profiles/{_family(n)}"),
            "all three reads": lambda n: kinds[("eligibility", "forecast", "profile")[n % 3]](n),
            "forecast callback": lambda n: client.post("/v1/forecasts", json=_forecast(n)),
        }
        figures = []
        for name, send in kinds.items():
            await _paced("warm-up", send, rate, WARM_UP_SECONDS)
            figures.append(await _paced(name, send, rate, seconds))
        return figures


async def _paced(name: str, send: Send, rate: float, seconds: float) -> Figures:
    random, began = Random(1), time.perf_counter()
    waiting = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.append(asyncio.create_task(_timed(send, random.randint(1, FAMILIES), due)))
    told = await asyncio.gather(*waiting)
    return Figures(name, rate, [taken for taken, _ in told], sum(not good for _, good in told))


async def _timed(send: Send, number: int, due: float) -> tuple[float, bool]:
    answer = await send(number)
    return (time.perf_counter() - due) * 1000, answer.is_success


@contextmanager
def _serving(home: Home) -> Iterator[tuple[str, str]]:
    """The service as `sink-runner api` starts it, on a port of its own."""
    port = str(ports.any_free(frozenset()))
    command = sink_runner("api", "--config", str(_ROOT / "sink-runner.toml"))
    environ = {**home.env, "SINK_API_PORT": port}
    with running(command, env=environ, log=home.folder / "api.log") as watched:
        while not ports.answers(int(port)):
            watched.check()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", home.env["SINK_API_LOCAL_KEY"]


def _fill(home: Home) -> None:
    with home.admin(SOURCE) as connection:
        if connection.execute(_FILLED).fetchone() != (0,):
            return
        home.reporter.step(f"making {FAMILIES:,} families")
        connection.execute(_FILL, {"n": FAMILIES})
        connection.execute(_EVALUATE, {"n": FAMILIES})
        connection.execute("VACUUM ANALYZE")


def _family(number: int) -> uuid.UUID:
    """As PostgreSQL's md5(...)::uuid makes it."""
    return uuid.UUID(md5(f"bench-api{number}".encode(), usedforsecurity=False).hexdigest())


def _forecast(number: int) -> dict[str, object]:
    return {
        "forecast_id": number,
        "family_id": str(_family(number)),
        "horizon_months": 12,
        "total_annual_value": 1200,
        "scheme_count": 1,
        "projections": [{"scheme_code": "BENCH-1", "benefit_amount": 1200}],
        "generated_at": datetime.now(UTC).isoformat(),
    }


def _print(figures: Sequence[Figures]) -> None:
    table = Table("requests", "a second", "p50 ms", "p99 ms", "worst ms", "failed")
    for one in figures:
        numbers = (one.rate, one.at(0.5), one.at(0.99), one.at(1.0))
        table.add_row(one.name, *(f"{number:.1f}" for number in numbers), str(one.failed))
    Console().print(table)
    print(json.dumps({one.name: {"p50": one.at(0.5), "p99": one.at(0.99)} for one in figures}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.api", description=__doc__)
    parser.add_argument("--rate", type=float, default=50, help="requests a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="for each kind (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
