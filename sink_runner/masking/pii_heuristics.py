"""Guess by name and type whether an unclassified column is personal.

JSON, XML, hstore, unlimited text and links look personal under any name, since they may contain
anything.

The guess errs on the side of personal.  `classification.json` lists columns that are not, with the
reason, under `not_personal`.
"""

from __future__ import annotations

import re
from itertools import pairwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that refer to a person anywhere in a column's name.
_WORDS = _words(
    """aadhaar aadhar uidai vid mobile phone telephone msisdn whatsapp contact email mail
    dob birth birthday birthdate age gender sex caste religion tribe disability disabled
    address addr street locality village pincode postcode postal zip latitude longitude
    geolocation income salary wage bank account ifsc iban upi pan passport voter epic ration
    father mother husband wife spouse guardian nominee photo photograph portrait signature
    fingerprint biometric iris health diagnosis password secret otp surname nickname
    city lat lon lng geo ip mob tel fname mname lname yob ssn gps blood face marital
    residence residential landmark house samagra abha pmjay kyc uan eshram card divyang
    viklang handicap handicapped pwd tehsil tahsil taluk taluka mandal panchayat ward hamlet
    latlng latlong coordinate geom geometry geohash zipcode gali mohalla landline gmail selfie
    imei imsi vpa gstin jati dharm bpl apl kisan ayushman esic parivar domicile licence license
    earning pension hiv pregnancy pregnant khasra khata khatauni"""
)
# Things have names, too: `name` is personal alone or after one of these.
_NAMES = _words(
    """full first last middle family given person citizen applicant member head holder
    beneficiary customer user owner display hindi file document"""
)
_NAME = frozenset({"name", "naam", "nm"})
_LANGUAGES = _words("hi hin en eng english in")
_IDS = frozenset({"citizen", "person", "applicant", "beneficiary", "warehouse"})
# Too short to refer to a person unless a number follows: `ph_no`, `dl_no`.
_NUMBERED = _words("ph cell dl ac acc acct")
_NUMBERS = frozenset({"no", "num", "number", "nbr"})
# Types of text that may contain anything.
_FREE = _words(
    """comment comments message messages note notes remark remarks reason reasons explanation
    description subject resolution body content text properties payload details data
    flags answer answers response responses question query path hash metadata meta attributes attrs
    extra extras custom misc context header headers raw
    url urls uri link links href"""
)
_FREE_TYPES = re.compile(r"text|char|json|xml|string", re.IGNORECASE)
# Types whose values may be of any length and form, and arrays of them.
_UNBOUNDED = re.compile(
    r"_?(?:text|citext|jsonb?|xml|hstore|jsonpath|tsvector|(?:character varying|varchar))(?:\[\])*",
    re.IGNORECASE,
)
_PAIRS = frozenset(
    [
        *((when, what)
          for when in ("old", "new", "previous", "prev", "prior", "former", "changed", "before",
                       "after")
          for what in ("value", "values", "row", "image")),
        *(("row", when) for when in ("before", "after")),
        *((what, number)
          for what in ("vehicle", "certificate", "document", "identity", "id", "rc", "pf")
          for number in ("no", "num", "number", "nbr")),
        *((whose, "id") for whose in ("national", "tax", "gov", "govt", "device")),
        ("id", "proof"), ("pin", "code"), ("hof", "name"),
        *((whose, "inc") for whose in ("annual", "monthly", "yearly", "family", "household")),
        *(("social", what) for what in ("category", "class", "group")),
    ]
)  # fmt: skip
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COMPOUNDS = re.compile(
    r"a+dha+r|aada+r|bhamashah|mobile|phone|e_?mail|birth|pincode|income|address|nameof",
    re.IGNORECASE,
)
# A column with a Hindi name is most likely of a form; there is no list of Hindi words here.
_DEVANAGARI = re.compile(r"[\u0900-\u097f\ua8e0-\ua8ff]")
# Two words in one: `fathername`, `panno`, `voterid`.
_GLUED = re.compile(
    rf"(?P<first>{'|'.join(sorted(_WORDS | _NAMES | _IDS | _NUMBERED | {'uid'}))})s?"
    rf"(?P<last>{'|'.join(sorted(_NAME | _NUMBERS | {'id', 'card'}))})"
)


def looks_personal(column: str, type_: str) -> bool:
    """Return whether a column may hold personal data; `type_` as PostgreSQL writes it.

    Text that may contain anything counts as personal.  "" is an unknown type.
    """
    words = [word for part in _PART.findall(column) for word in _apart(part.lower())]
    if _DEVANAGARI.search(column) or _UNBOUNDED.fullmatch(type_) or _PAIRS & {*pairwise(words)}:
        return True
    if _COMPOUNDS.search(column) or _WORDS.intersection(_singular(words)) or _numbered(words):
        return not _is_flag(words, type_)
    if _NAME.intersection(words):
        is_only_name = _NAME.issuperset({*words} - _LANGUAGES)
        return is_only_name or bool(_NAMES.intersection(_singular(words)))
    if "uid" in words:  # the Aadhaar's other name, or short for a surrogate
        return not type_.lower().startswith("uuid")
    if words[-1:] == ["id"] and _IDS.intersection(words):
        return bool(type_) and not type_.lower().startswith("uuid")  # a surrogate is a pseudonym
    return bool(_FREE.intersection(words)) and (not type_ or bool(_FREE_TYPES.search(type_)))


def _apart(word: str) -> tuple[str, ...]:
    """Return the two words that were written as one, otherwise the word."""
    found = _GLUED.fullmatch(word)
    return (found["first"], found["last"]) if found else (word,)


def _singular(words: list[str]) -> set[str]:
    """Return the words, also without the s of a plural or of "father's"."""
    return {*words, *(word.removesuffix("s") for word in words)}


def _numbered(words: list[str]) -> bool:
    return any(one in _NUMBERED and two in _NUMBERS for one, two in pairwise(words))


def _is_flag(words: list[str], type_: str) -> bool:
    """Return whether the column is a flag about a personal value and does not contain it."""
    return type_.lower().startswith("bool") and not {"disabled", "disability"}.intersection(words)
