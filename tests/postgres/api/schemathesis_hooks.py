"""Constraints that the OpenAPI description cannot express.

Times are in the past, and each request has an Idempotency-Key of its own.
"""

import re
from datetime import datetime
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

KEY = "Idempotency-Key"

schemathesis.openapi.format(
    "date-time",
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2026, 1, 1)).map(  # noqa: DTZ001
        lambda moment: f"{moment.isoformat()}Z"
    ),
)


@schemathesis.hook
def map_headers(_context, headers):
    """Replace a valid Idempotency-Key by a new one; an invalid one stays, to be refused."""
    if headers and re.fullmatch(r"[\x21-\x7e]{1,200}", str(headers.get(KEY, ""))):
        headers[KEY] = uuid4().hex
    return headers
