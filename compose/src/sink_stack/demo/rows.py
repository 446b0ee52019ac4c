"""Rows of every table for a range of families, in the order that foreign keys allow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import families, places, portal, schemes, warehouse
from .draw import Draw

Rows = dict[str, list[dict[str, Any]]]
"""Tables to rows; the rows of one table have the same keys, which are its columns."""

STRANGER_PERCENT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What decides every row."""

    families: int
    seed: int
    as_of: datetime


def reference(plan: Plan) -> dict[str, Rows]:
    """Rows that do not belong to a family, by database."""
    districts = [
        {
            "district_id": number,
            "district_code": code,
            "district_name": name,
            "is_urban": code in places.URBAN,
        }
        for number, (code, name, _) in enumerate(places.DISTRICTS, start=1)
    ]
    aliases = [
        {"alias_norm": alias, "district_id": number} for alias, number in places.aliases().items()
    ]
    return {
        "smart_warehouse": {
            "public.districts": districts,
            "public.district_alias": aliases,
            "public.scheme_master": list(schemes.master(plan.as_of)),
        },
        "smart_citizen": {"public.schemes": list(schemes.portal(plan.as_of))},
    }


def batches(plan: Plan, size: int) -> Iterator[tuple[int, dict[str, Rows]]]:
    """Yield rows by database, and how many families they are of."""
    for start in range(0, plan.families, size):
        stop = min(start + size, plan.families)
        rows: dict[str, Rows] = {"smart_warehouse": {}, "smart_citizen": {}}
        for index in range(start, stop):
            for database, tables in of_family(plan, index).items():
                for table, made in tables.items():
                    rows[database].setdefault(table, []).extend(made)
        yield stop - start, rows


def of_family(plan: Plan, index: int) -> dict[str, Rows]:
    """Everything about one family; depends on the seed, the index and the time, nothing else."""
    draw = Draw(plan.seed, index, plan.as_of)
    family = families.make(draw, plan.seed, index)
    unknown = draw.chance(STRANGER_PERCENT)
    strangers = [families.stranger(draw, plan.seed, family)] if unknown else []
    found = portal.accounts(draw, family, strangers)
    made = portal.apply(draw, family, found)
    known = list(portal.identity_map(family, found))
    own = [one for one in made if one.citizen.person in family.registered]
    return {
        "smart_warehouse": {
            "public.golden_records": list(warehouse.golden_records(draw, family)),
            "public.profile_360": list(warehouse.profiles(draw, family)),
            "eligibility.eligibility_snapshots": list(warehouse.snapshots(draw, family)),
            "forecast.benefit_forecasts": list(warehouse.forecasts(draw, family)),
            "decision.applications": list(warehouse.decisions(draw, family, own)),
            "alerts.ml_alert_outbox": list(warehouse.alerts(draw, family, reachable=bool(known))),
        },
        "smart_citizen": {
            "public.citizens": list(portal.citizens(draw, family, found)),
            "public.citizen_identity_map": known,
            "public.service_applications": list(portal.applications(draw, made)),
            "public.documents": list(portal.documents(draw, made)),
            "public.user_behavior_events": list(portal.behaviour(draw, found)),
            "public.feedback": list(portal.feedback(draw, found, made)),
        },
    }
