"""Measure the API under reads and callbacks at a constant rate (`make bench-api`).

The load is an open loop: each request is sent at its scheduled time, whether or not the requests
before it have been answered, and its latency counts from that time. A slow service therefore
cannot lower its measured latency by receiving fewer requests.
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

from . import stack
from .process import start_process
from .stack import SOURCE, BenchStack

FAMILIES = 20_000
WARM_UP_SECONDS = 3
_ROOT = Path(__file__).parents[2]
_COUNT = "SELECT count(*) FROM public.golden_records WHERE city_village = 'bench-api'"
_INSERT_FAMILIES = """
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
_INSERT_SNAPSHOTS = """
INSERT INTO eligibility.eligibility_snapshots
  (family_id, member_id, scheme_code, evaluation_status, eligibility_score, explanation)
SELECT md5('bench-api' || n)::uuid, md5('member' || m || n)::uuid, 'BENCH-' || s, 'RULE_ELIGIBLE',
       0.5, 'because'
FROM generate_series(1, %(n)s) n, generate_series(1, 2) m, generate_series(1, 6) s
"""
Send = Callable[[int], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from the scheduled time of each request to its response."""

    name: str
    rate: float
    milliseconds: Sequence[float]
    failed: int

    def quantile(self, share: float) -> float:
        last = len(self.milliseconds) - 1
        return sorted(self.milliseconds)[min(last, int(len(self.milliseconds) * share))]


def main() -> int:
    args = _parse_arguments()
    with stack.open_stack() as bench:
        _insert_families(bench)
        bench.stop_capture()
        with _start_api(bench) as (url, key):
            latencies = asyncio.run(_measure(url, key, args.rate, args.seconds))
    _print_table(latencies)
    return 1 if any(kind.failed for kind in latencies) else 0


async def _measure(url: str, key: str, rate: float, seconds: float) -> list[Latencies]:
    headers = {"X-API-Key": key}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        kinds: dict[str, Send] = {
            "eligibility": lambda n: client.get(f"/v1/families/{_family_id(n)}/eligibility"),
            "forecast": lambda n: client.get(f"/v1/families/{_family_id(n)}/forecast"),
            "profile": lambda n: client.get(f"/v1/profiles/{_family_id(n)}"),
            "all three reads": lambda n: kinds[("eligibility", "forecast", "profile")[n % 3]](n),
            "forecast callback": lambda n: client.post("/v1/forecasts", json=_make_forecast(n)),
        }
        latencies = []
        for name, send in kinds.items():
            await _send_at_rate("warm-up", send, rate, WARM_UP_SECONDS)
            latencies.append(await _send_at_rate(name, send, rate, seconds))
        return latencies


async def _send_at_rate(name: str, send: Send, rate: float, seconds: float) -> Latencies:
    random, start = Random(1), time.perf_counter()
    requests = []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        requests.append(asyncio.create_task(_time_request(send, random.randint(1, FAMILIES), due)))
    results = await asyncio.gather(*requests)
    milliseconds = [latency for latency, _ in results]
    return Latencies(name, rate, milliseconds, sum(not success for _, success in results))


async def _time_request(send: Send, number: int, due: float) -> tuple[float, bool]:
    response = await send(number)
    return (time.perf_counter() - due) * 1000, response.is_success


@contextmanager
def _start_api(bench: BenchStack) -> Iterator[tuple[str, str]]:
    """Run `sink-runner api` on a free port; yield its URL and an API key."""
    port = str(ports.any_free(frozenset()))
    command = sink_runner("api", "--config", str(_ROOT / "sink-runner.toml"))
    environ = {**bench.env, "SINK_API_PORT": port}
    with start_process(command, env=environ, log=bench.folder / "api.log") as process:
        while not ports.answers(int(port)):
            process.check()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", bench.env["SINK_API_LOCAL_KEY"]


def _insert_families(bench: BenchStack) -> None:
    with bench.connect_admin(SOURCE) as connection:
        if connection.execute(_COUNT).fetchone() != (0,):
            return
        bench.reporter.step(f"inserting {FAMILIES:,} families")
        connection.execute(_INSERT_FAMILIES, {"n": FAMILIES})
        connection.execute(_INSERT_SNAPSHOTS, {"n": FAMILIES})
        connection.execute("VACUUM ANALYZE")


def _family_id(number: int) -> uuid.UUID:
    """Return the UUID that the SQL above computes as md5(...)::uuid."""
    return uuid.UUID(md5(f"bench-api{number}".encode(), usedforsecurity=False).hexdigest())


def _make_forecast(number: int) -> dict[str, object]:
    return {
        "forecast_id": number,
        "family_id": str(_family_id(number)),
        "horizon_months": 12,
        "total_annual_value": 1200,
        "scheme_count": 1,
        "projections": [{"scheme_code": "BENCH-1", "benefit_amount": 1200}],
        "generated_at": datetime.now(UTC).isoformat(),
    }


def _print_table(latencies: Sequence[Latencies]) -> None:
    table = Table("requests", "per second", "p50 ms", "p99 ms", "max ms", "failed")
    for kind in latencies:
        numbers = (kind.rate, kind.quantile(0.5), kind.quantile(0.99), kind.quantile(1.0))
        table.add_row(kind.name, *(f"{number:.1f}" for number in numbers), str(kind.failed))
    Console().print(table)
    quantiles = {"p50": 0.5, "p99": 0.99}
    print(
        json.dumps(
            {
                kind.name: {name: kind.quantile(share) for name, share in quantiles.items()}
                for kind in latencies
            }
        )
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.api", description=__doc__)
    parser.add_argument("--rate", type=float, default=50, help="requests per second (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=20, help="duration for each kind of request (%(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
