"""The resolved type of a column: its base type through any depth of domains, and its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HEADER = 4
"""What the modifier of a variable-length type has on top of its length (VARHDRSZ)."""
ANY_FIELDS = 0x7FFF
"""The fields of an interval that declares none."""
ANY_PRECISION = 0xFFFF
"""The precision of an interval that declares fields only."""


@dataclass(frozen=True, slots=True)
class PgType:
    """A type with its domains resolved.

    `schema` and `name` are those of the base type in pg_type: `int4`, never `integer`.  For an
    array `element` is the resolved element type, which carries the modifier as well; for a range
    or a multirange `subtype` is the type of its bounds.
    """

    schema: str
    name: str
    category: str
    """pg_type.typcategory of the base type."""
    kind: str
    """pg_type.typtype of the base type: b(ase), c(omposite), e(num), r(ange), m(ultirange)."""
    modifier: int | None
    """The type modifier that applies; None where there is none."""
    declared: str
    """The column's type as PostgreSQL shows it, for messages."""
    cast: str
    """SQL of the full type with its modifier, to be put after `::`."""
    unbound_cast: str
    """SQL of the base type without its modifier.

    An explicit cast to the full type shortens silently; an assignment from this one complains.
    """
    base_cast: str
    """SQL of the base type with its modifier: as `cast`, but without the domains' constraints."""
    element: PgType | None = None
    subtype: PgType | None = None
    labels: tuple[str, ...] = ()
    fields: tuple[tuple[str, PgType], ...] = ()
    collation: str | None = None
    extension: str | None = None
    """The extension that owns the base type, whatever its schema is."""
    domains: tuple[str, ...] = ()
    """The qualified names of the domains, outermost first."""
    folding: str | None = None
    """SQL of the column's collation if it finds different texts equal, as one without case does."""

    def read(self, text: str) -> str:
        """Return SQL that reads an SQL expression of type text as the base type's input does.

        Casts from text to some types are functions of their own: `'-'::text::regclass` fails and
        `'\\377'::text::"char"` is a backslash.
        """
        if self.is_builtin(*_READ_BY):
            return f"pg_catalog.{_READ_BY[self.name]}(pg_catalog.textout({text}))"
        return f"{text}::{self.unbound_cast}" + (f" COLLATE {self.folding}" if self.folding else "")

    @property
    def is_exact(self) -> bool:
        """Whether equal values are the same byte for byte, unlike 1 and 1.00 of numeric."""
        return self.kind == "e" or (self.is_builtin(*_EXACT) and self.folding is None)

    def canonical(self, value: str) -> str:
        """Return SQL of one value for all that are equal to a value of the base type.

        1 and 1.00 of numeric are equal, `alice` and `Alice` of citext, `1 mon` and `30 days`.
        """
        if self.is_from("citext", "citext"):
            return f"lower({value}::text)"
        if self.is_builtin("float4", "float8"):
            return f"({value} + 0)"  # -0 becomes 0
        form = _CANONICAL.get(self.name) if self.schema == "pg_catalog" else None
        return value if form is None else f"{form}({value})"

    def is_builtin(self, *names: str) -> bool:
        """Whether the base type is one of these types of pg_catalog."""
        return self.schema == "pg_catalog" and self.name in names

    def is_from(self, extension: str, *names: str) -> bool:
        """Whether the base type is one of these types of an extension, in any schema."""
        return self.extension == extension and self.name in names

    def same_base(self, other: PgType) -> bool:
        """Whether both have the same base type, in two databases, whatever modifier applies.

        The schema of an extension's type may differ between databases; that of an enum or a
        composite may not matter either, as long as its labels or fields are alike.
        """
        if self.element is not None or other.element is not None:
            return (
                self.element is not None
                and other.element is not None
                and self.element.same_base(other.element)
            )
        if self.kind == other.kind == "e":
            return self.labels == other.labels
        if self.kind == other.kind == "c":
            return [name for name, _ in self.fields] == [name for name, _ in other.fields] and all(
                one.same_base(two)
                for (_, one), (_, two) in zip(self.fields, other.fields, strict=True)
            )
        if self.extension is not None or other.extension is not None:
            return (self.extension, self.name) == (other.extension, other.name)
        return (self.schema, self.name) == (other.schema, other.name)

    def makes_equal(self, source: PgType) -> bool:
        """Whether values that the source's type distinguishes may be equal here: a and A in citext.

        Only texts are read so freely; numbers and times of two types are equal in both.
        """
        if source.category != _TEXTS or not source.is_exact:
            return False
        padded = self.is_builtin("bpchar")  # blanks, of which nothing else is made, are refused
        return self.category != _TEXTS or not (self.is_exact or padded)

    @property
    def scalar(self) -> PgType:
        """The type of the elements of an array, else the type."""
        return self if self.element is None else self.element

    @property
    def length(self) -> int | None:
        """The most characters of a varchar or char, the bits of a bit string; None: any."""
        if self.modifier is None:
            return None
        if self.is_builtin("varchar", "bpchar"):
            return self.modifier - HEADER
        return self.modifier if self.is_builtin("bit", "varbit") else None

    @property
    def digits(self) -> tuple[int, int] | None:
        """The precision and scale of a numeric; None: any."""
        if self.modifier is None or not self.is_builtin("numeric"):
            return None
        packed = self.modifier - HEADER
        scale = packed & 0x7FF
        return packed >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale

    @property
    def second_digits(self) -> int | None:
        """The digits of the seconds' fraction that a date or time type keeps; None: all six."""
        if self.modifier is None:
            return None
        if self.is_builtin("time", "timetz", "timestamp", "timestamptz"):
            return self.modifier
        if self.is_builtin("interval") and self.modifier & 0xFFFF != ANY_PRECISION:
            return self.modifier & 0xFFFF
        return None


_TEXTS = "S"
"""pg_type.typcategory of text and what is like it."""
_EXACT = (
    *("int2", "int4", "int8", "oid", "xid8", "bool", "uuid", "pg_lsn", "bytea", "bit", "varbit"),
    *("text", "varchar", "name", "char", "inet", "cidr", "macaddr", "macaddr8"),
    *("date", "time", "timetz", "timestamp", "timestamptz"),
)
_CANONICAL = {"numeric": "trim_scale", "bpchar": "rtrim", "interval": "justify_interval"}
_READ_BY = {"regclass": "regclassin", "char": "charin"}

UNRESOLVED = PgType("", "", "X", "b", None, "", "text", "text", "text")
"""Stands for the type of a column that is yet to be resolved."""


class ColumnType(NamedTuple):
    """A column as pg_attribute has it."""

    type: PgType
    nullable: bool
    toastable: bool
    """Whether its values can be stored out of line, so that an update may leave them out."""
    bare: str
    """The declared type without length, precision and scale."""
