"""Numbers and addresses that look like a person's and cannot belong to a real person.

A real Aadhaar number never starts with 0 or 1 and ends in a Verhoeff check digit; these start
with one of the two and end in a wrong digit. A real Indian mobile number starts with 6 to 9;
these start with 0 to 5. E-mail addresses lie under domains that are reserved for examples.
"""

_MULTIPLY = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_PERMUTE = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)
_INVERSE = "0432156789"

# Odd and not divisible by 5: multiplying by it permutes the numbers of ten digits.
_SPREAD = 6_364_136_223
_TEN_DIGITS = 10**10
_NINE_DIGITS = 10**9


def check_digit(digits: str) -> int:
    """The Verhoeff digit that would make a number of these digits valid."""
    state = 0
    for position, digit in enumerate(reversed(digits), start=1):
        permuted = int(_PERMUTE[position % 8][int(digit)])
        state = int(_MULTIPLY[state][permuted])
    return int(_INVERSE[state])


def aadhaar(serial: int, seed: int) -> str:
    """Twelve digits, different for each serial of one seed."""
    spread = (serial * _SPREAD + seed * 7919) % _TEN_DIGITS
    body = f"{spread % 2}{spread:010d}"
    wrong = (check_digit(body) + 1 + spread % 9) % 10
    return f"{body}{wrong}"


def mobile(serial: int, seed: int) -> str:
    """Ten digits; two people may share one, as families do."""
    spread = (serial * _SPREAD + seed * 104_729) % _NINE_DIGITS
    return f"{spread % 6}{spread:09d}"


def email(first: str, last: str, serial: int) -> str:
    domain = "example.in" if serial % 2 else "example.com"
    return f"{first}.{last}{serial}@{domain}".lower()


def citizen_id(serial: int) -> str:
    """The warehouse's id of a person."""
    return f"RJ{serial:08d}"
