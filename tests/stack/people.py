"""Random personal values for the load; no number can belong to a real person."""

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from sink_stack.demo import identities, names

T = TypeVar("T")
_FIRST_SERIAL = 50_000_000
_CITIES = ("Rampura", "Mandawa", "Khetri", "Nathdwara", "Sojat")
_PINCODES = ("302001", "305001", "331001")
# Other case, an alias, two spellings of one district, and unknown districts.
DISTRICTS = (
    "Jaipur", "JAIPUR", "Kota", "Jhunjhunun", "Ganganagar", "Sri  Ganganagar", "Pali", "Unknown",
    "Jhalawar",
)  # fmt: skip
_GENDERS = ("MALE", "FEMALE", "OTHER", "Male", "female")
_REQUIRED = frozenset({"full_name", "mobile_number"})


class People:
    """Draws random values, reproducibly by the seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._seed = seed
        self._serial = _FIRST_SERIAL + seed % 1000 * 100_000

    def chance(self, percent: int) -> bool:
        return self.random.random() * 100 < percent

    def one(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def number(self) -> str:
        """Return an unused Aadhaar number."""
        self._serial += 1
        return identities.aadhaar(self._serial, 1)

    def name(self) -> str:
        first, _ = self.one((*names.FEMALE, *names.MALE))
        last, _ = self.one(names.SURNAMES)
        return f"{first} {last} {self.random.randrange(1000)}"

    def email(self) -> str:
        local = self.one(("a", "so", f"person{self.random.randrange(1000)}"))
        return f"{local}@example.in"

    def mobile(self) -> str:
        if self.chance(5):
            return self.one(("7", "123", "4321"))  # too short for a mask
        return identities.mobile(self.random.randrange(10**6), self._seed)

    def birth_date(self) -> str:
        year, month, day = (self.random.randint(*span) for span in ((1940, 2015), (1, 12), (1, 28)))
        return f"{year}-{month:02}-{day:02}"

    def citizen_values(self) -> dict[str, Any]:
        """Return a value for each column of a citizen that is mapped to the warehouse."""
        return {
            "full_name": self.name(),
            "mobile_number": self.mobile(),
            "email": self.email(),
            "date_of_birth": self.birth_date(),
            "gender": self.one(_GENDERS),
            "city": self.one(_CITIES),
            "district": self.one(DISTRICTS[:-2]),
            "pincode": self.one(_PINCODES),
        }

    def citizen_change(self) -> dict[str, Any]:
        """Return new values for a few of those columns; some are NULL or an unknown district."""
        values = {**self.citizen_values(), "district": self.one(DISTRICTS)}
        return self._some(values, 3)

    def golden_values(self) -> dict[str, Any]:
        """Return a value for each column of a golden record that a mapping reads or writes."""
        return {
            "full_name": self.name(),
            "mobile_number": self.mobile(),
            "email": self.email(),
            "date_of_birth": self.birth_date(),
            "gender": self.one(("Male", "Female", "Other")),
            "city_village": self.one(_CITIES),
            "district_id": self.random.randint(1, 33),
            "pincode": self.one(_PINCODES),
        }

    def golden_change(self) -> dict[str, Any]:
        return self._some(self.golden_values(), 3)

    def _some(self, values: dict[str, Any], maximum: int) -> dict[str, Any]:
        chosen = self.random.sample(sorted(values), self.random.randint(1, maximum))
        return {
            name: None if name not in _REQUIRED and self.chance(12) else values[name]
            for name in chosen
        }
