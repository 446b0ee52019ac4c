"""The twelve schemes of the warehouse, and the portal's copy of them with Hindi names."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    code: str
    name: str
    hindi: str
    category: str
    department: str
    status: str = "active"
    cash: bool = True
    criteria: tuple[tuple[str, Any], ...] = ()

    @property
    def portal_id(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"urn:scheme:{self.code}")


SCHEMES = (
    Scheme(
        code="CHIRANJEEVI",
        name="Mukhyamantri Chiranjeevi Yojana",
        hindi="मुख्यमंत्री चिरंजीवी योजना",
        category="HEALTH",
        department="Medical and Health",
        cash=False,
    ),
    Scheme(
        code="VISHESH_LABH",
        name="Vishesh Labh Yojana",
        hindi="विशेष लाभ योजना",
        category="SOCIAL_SECURITY",
        department="Social Justice",
        criteria=(("max_income", 200000),),
    ),
    Scheme(
        code="GRAMIN_AWAS",
        name="Gramin Awas Yojana",
        hindi="ग्रामीण आवास योजना",
        category="HOUSING",
        department="Rural Development",
        criteria=(("bpl_required", True),),
    ),
    Scheme(
        code="SC_ST_SCHOLARSHIP",
        name="SC/ST Scholarship",
        hindi="अनुसूचित जाति/जनजाति छात्रवृत्ति",
        category="EDUCATION",
        department="Social Justice",
        criteria=(("min_age", 6), ("max_age", 25), ("target_caste", "SC/ST")),
    ),
    Scheme(
        code="KISAN_CREDIT",
        name="Kisan Credit Card",
        hindi="किसान क्रेडिट कार्ड",
        category="LIVELIHOOD",
        department="Agriculture",
        criteria=(("farmer_required", True),),
    ),
    Scheme(
        code="MAHILA_SHAKTI",
        name="Mahila Shakti Yojana",
        hindi="महिला शक्ति योजना",
        category="LIVELIHOOD",
        department="Women and Child Development",
        criteria=(("min_age", 18),),
    ),
    Scheme(
        code="DISABILITY_PENSION",
        name="Disability Pension",
        hindi="विशेष योग्यजन पेंशन",
        category="SOCIAL_SECURITY",
        department="Social Justice",
    ),
    Scheme(
        code="OLD_AGE_PENSION",
        name="Old Age Pension",
        hindi="वृद्धावस्था पेंशन",
        category="SOCIAL_SECURITY",
        department="Social Justice",
        criteria=(("min_age", 58),),
    ),
    Scheme(
        code="NREGA",
        name="Rural Employment Guarantee",
        hindi="ग्रामीण रोजगार गारंटी",
        category="LIVELIHOOD",
        department="Rural Development",
        criteria=(("min_age", 18),),
    ),
    Scheme(
        code="BPL_ASSISTANCE",
        name="BPL Family Assistance",
        hindi="बीपीएल परिवार सहायता",
        category="FOOD",
        department="Food and Civil Supplies",
        cash=False,
        criteria=(("bpl_required", True),),
    ),
    Scheme(
        code="TRIBAL_WELFARE",
        name="Tribal Welfare",
        hindi="जनजाति कल्याण",
        category="SOCIAL_SECURITY",
        department="Tribal Area Development",
        status="archived",
        criteria=(("target_caste", "ST"),),
    ),
    Scheme(
        code="OBC_SCHOLARSHIP",
        name="OBC Scholarship",
        hindi="अन्य पिछड़ा वर्ग छात्रवृत्ति",
        category="EDUCATION",
        department="Social Justice",
        status="inactive",
        criteria=(("min_age", 6), ("max_age", 25), ("target_caste", "OBC")),
    ),
)
# The portal was once filled from another list, which names some schemes otherwise.
PORTAL_ONLY = (
    Scheme(
        code="MAHATMA_GANDHI_NREGA",
        name="Mahatma Gandhi NREGA",
        hindi="महात्मा गांधी नरेगा",
        category="LIVELIHOOD",
        department="Rural Development",
    ),
    Scheme(
        code="MUKHYAMANTRI_CHIRANJEEVI_YOJANA",
        name="Chiranjeevi Yojana",
        hindi="चिरंजीवी योजना",
        category="HEALTH",
        department="Medical and Health",
    ),
)
_COLUMNS = ("min_age", "max_age", "max_income", "target_caste", "bpl_required", "farmer_required")


def master(as_of: datetime) -> Iterator[dict[str, Any]]:
    """Rows of the warehouse's scheme_master."""
    for number, scheme in enumerate(SCHEMES, start=1):
        criteria = dict(scheme.criteria)
        yield {
            "scheme_id": number,
            "scheme_code": scheme.code,
            "scheme_name": scheme.name,
            "category": scheme.category,
            "description": f"{scheme.name}, run by {scheme.department}.",
            **{
                name: criteria.get(name, False if "required" in name else None) for name in _COLUMNS
            },
            "scheme_type": "CASH" if scheme.cash else "NON_CASH",
            "status": scheme.status,
            "created_at": as_of - timedelta(days=900),
            "updated_at": as_of - timedelta(days=number),
            "department_name": scheme.department,
            "eligibility_criteria_json": json.dumps(criteria),
            "benefits_json": json.dumps([{"type": "CASH" if scheme.cash else "SERVICE"}]),
            "documents_required_json": json.dumps(["JAN_AADHAAR", "INCOME_CERTIFICATE"]),
        }


def portal(as_of: datetime) -> Iterator[dict[str, Any]]:
    """Rows of the portal's schemes: all of them on, whatever the warehouse has decided since."""
    for scheme in (*SCHEMES, *PORTAL_ONLY):
        yield {
            "id": scheme.portal_id,
            "code": scheme.code,
            "name": scheme.name,
            "name_hindi": scheme.hindi,
            "description": f"{scheme.name}.",
            "description_hindi": f"{scheme.hindi}।",
            "category": scheme.category,
            "department": scheme.department,
            "start_date": (as_of - timedelta(days=700)).date(),
            "status": "ACTIVE",
            "created_at": as_of - timedelta(days=800),
            "updated_at": as_of - timedelta(days=90),
        }
