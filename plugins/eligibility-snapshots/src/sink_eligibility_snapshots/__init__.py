"""smart_warehouse.eligibility.eligibility_snapshots -> smart_citizen.public.eligibility_hints.

A hint is derived from several rows.  It is one of the five best schemes of a family: of each member
and scheme the latest evaluation counts, and of each scheme the best member.
"""

from datetime import timedelta

from sink_runner.plugin import (
    Column,
    Context,
    Derived,
    Event,
    FilterResult,
    Schedule,
    TableMapping,
    hookimpl,
    source_wins,
)

_EXPIRES = timedelta(days=30)

_TOP_FIVE = """
WITH latest AS (
  SELECT DISTINCT ON (family_id, member_id, scheme_code) *
  FROM {candidates} c
  ORDER BY family_id, member_id, scheme_code, evaluation_timestamp DESC,
           evaluation_version DESC NULLS LAST, snapshot_id DESC
), eligible AS (
  SELECT *, coalesce(eligibility_score, 0) AS score, coalesce(confidence_score, 0) AS confidence
  FROM latest
  WHERE evaluation_status IN ('RULE_ELIGIBLE', 'POSSIBLE_ELIGIBLE')
    AND evaluation_timestamp >= {now} - interval '30 days'
), best AS (
  SELECT DISTINCT ON (family_id, scheme_code) *
  FROM eligible
  ORDER BY family_id, scheme_code, score DESC, confidence DESC, evaluation_timestamp DESC,
           snapshot_id DESC
), ranked AS (
  SELECT *, row_number() OVER (
    PARTITION BY family_id
    ORDER BY score DESC, confidence DESC, evaluation_timestamp DESC, scheme_code
  ) AS rank
  FROM best
)
SELECT family_id, scheme_code, evaluation_status AS eligibility_status,
       round(score, 2) AS eligibility_score, round(confidence, 2) AS confidence,
       coalesce(explanation, 'No explanation available') AS explanation,
       evaluation_timestamp AS updated_at
FROM ranked WHERE rank <= 5
"""
_STATUSES = frozenset({"RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE", "NOT_ELIGIBLE", "UNCERTAIN", "ERROR"})
_UNEXPLAINED = "No explanation available"


@hookimpl
def sink_mapping() -> TableMapping:
    return TableMapping(
        source="smart_warehouse.eligibility.eligibility_snapshots",
        target="smart_citizen.public.eligibility_hints",
        key=("family_id", "scheme_code"),
        conflict=source_wins(),  # for candidates; _TOP_FIVE chooses the hints
        expected_per_day=50_000,
        derived=Derived(
            key=("snapshot_id",),
            group=("family_id",),
            select=_TOP_FIVE,
            expire_column="evaluation_timestamp",
            expire_after=_EXPIRES,
        ),
        schedules=(Schedule("30 4 * * SUN", full=True),),
        columns=(
            Column("snapshot_id", type="integer", required=True),
            Column("family_id", type="uuid", required=True),
            Column("member_id", type="uuid"),
            Column("scheme_code", type="text", required=True),
            Column("evaluation_status", type="text", required=True, one_of=_STATUSES),
            Column("eligibility_score", type="numeric", minimum=0, maximum=1, default=0),
            Column("confidence_score", type="numeric", minimum=0, maximum=1, default=0),
            Column("explanation", type="text", default=_UNEXPLAINED, max_length=500),
            Column("evaluation_timestamp", type="timestamp", required=True),
            Column("evaluation_version", type="integer"),
        ),
    )


@hookimpl
def sink_filter(event: Event, ctx: Context) -> FilterResult:
    """Keep expired evaluations out of the candidates: a full run reads years of them."""
    expired = ctx.batch and event.age(event.row["evaluation_timestamp"]) > _EXPIRES
    return FilterResult.REMOVE if expired else FilterResult.PASS
