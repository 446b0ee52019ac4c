"""schemathesis finds no difference between the service and its OpenAPI description."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ...support.api_live import serve_on_port

pytestmark = pytest.mark.postgres
EXAMPLES = 10
FAMILY = "6f1c1e2a-6d0b-4f57-9a55-0d6c1c1f0a11"
RECORD = "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55"
EXAMPLE_ROWS = """
INSERT INTO golden_records (gr_id, full_name, jan_aadhaar) VALUES (%(record)s, 'A', '123412341234');
INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES ('S', 'S', 'X');
INSERT INTO eligibility.eligibility_snapshots (family_id, scheme_code, evaluation_status)
VALUES (%(family)s, 'S', 'RULE_ELIGIBLE');
INSERT INTO forecast.benefit_forecasts (forecast_id, family_id) VALUES (1, %(family)s);
"""


def test_service_conforms_to_its_openapi_description(serve, postgres, tmp_path):
    database = postgres.fresh_database("smart_warehouse")
    with psycopg.connect(postgres.dsn(database)) as admin:
        for statement in EXAMPLE_ROWS.strip().split(";\n"):
            admin.execute(statement, {"family": FAMILY, "record": RECORD})
    service = serve(
        dsn=postgres.dsn(database, "sink_writer"),
        reader_dsn=postgres.dsn(database, "sink_reader"),
        limits="requests_per_second = 100000\nburst = 100000",
    )
    with serve_on_port(service.app, service.services.api) as url:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{url}/openapi.json",
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--checks", "all"),
            *("--header", f"X-API-Key: {service.keys['all']}"),
            *("--generation-allow-x00", "false", "--no-color"),
        ]
        run = subprocess.run(
            command,
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                "PYTHONPATH": str(Path(__file__).parent),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    (tmp_path / "schemathesis.txt").write_text(run.stdout)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    assert len(service.publisher.records) > EXAMPLES
