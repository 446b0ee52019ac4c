"""Which columns look personal: a guess by name and type, for what nobody has classified yet.

It errs towards yes.  A column that looks so and is not is listed in `classification.json` under
`not_personal`, with the reason.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that speak of a person wherever they stand in a column's name.
_WORDS = _words(
    """aadhaar aadhar uidai vid mobile phone telephone msisdn whatsapp contact email mail
    dob birth birthday birthdate age gender sex caste religion tribe disability disabled
    address addr street locality village pincode postcode postal zip latitude longitude
    geolocation income salary wage bank account ifsc iban upi pan passport voter epic ration
    father mother husband wife spouse guardian nominee photo photograph portrait signature
    fingerprint biometric iris health diagnosis password secret otp surname nickname
    city lat lon lng geo ip"""
)
# Things have names, too: a name is a person's where it stands alone or behind one of these.
_NAMES = _words(
    """full first last middle family given person citizen applicant member head holder
    beneficiary customer user owner display hindi file document"""
)
_IDS = frozenset({"citizen", "person", "applicant", "beneficiary", "warehouse"})
# Text in which anything may stand.
_FREE = _words(
    """comment comments message messages note notes remark remarks reason reasons explanation
    description subject resolution body content text properties payload details data
    flags answer question query path hash"""
)
_FREE_TYPES = re.compile(r"text|char|json|xml|string", re.IGNORECASE)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COMPOUNDS = re.compile(
    r"aadh?aar|mobile|phone|e_?mail|birth|pincode|income|address", re.IGNORECASE
)


def looks_personal(column: str, type_: str) -> bool:
    """Tell whether a column may hold what is a person's; `type_` as PostgreSQL writes it.

    Text in which anything may stand counts as personal.  "" is a type that is not known.
    """
    words = [part.lower() for part in _PART.findall(column)]
    if _COMPOUNDS.search(column) or _WORDS.intersection(words):
        return not _is_flag(words, type_)
    if "name" in words or "naam" in words:
        return len(words) == 1 or bool(_NAMES.intersection(words))
    if words[-1:] == ["id"] and _IDS.intersection(words):
        return bool(type_) and not type_.lower().startswith("uuid")  # a surrogate is a pseudonym
    return bool(_FREE.intersection(words)) and (not type_ or bool(_FREE_TYPES.search(type_)))


def _is_flag(words: list[str], type_: str) -> bool:
    """A yes or no about an e-mail address is none."""
    return type_.lower().startswith("bool") and not {"disabled", "disability"}.intersection(words)
