"""How a mapping's pipeline is assembled, and the checks before it starts."""

import base64
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.config import Config, Database, DeadLetters
from sink_runner.config.dsn import Dsn
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.masking.origins import NOT_READ
from sink_runner.masking.policy import Policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.plugin import Column, Derived, TableMapping, first_of, source_wins
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.runtime.builder import RuntimeContext
from sink_runner.transform.before_image import columns_before
from sink_runner.transform.compiled_mapping import _is_key_unmasked, compile_mapping
from sink_runner.transform.event_source import EventSource
from sink_runner.writer.encryption import build_encryptor

MAPPING = TableMapping(
    source="north.public.t",
    target="south.public.t",
    key=("id",),
    conflict=source_wins(),
    columns=(Column("id"), Column("name", "title")),
)


class TestColumnsBefore:
    def test_only_sources_of_key_are_read(self) -> None:
        columns = (Column("id", first_of("a", "b")), Column("name", "a"))
        assert columns_before(replace(MAPPING, columns=columns)) == ("a", "b")

    def test_all_columns_are_read_if_before_image_needed(self) -> None:
        assert columns_before(replace(MAPPING, needs_before_image=True, extra_columns=("x",))) == (
            "id",
            "title",
            "x",
        )

    def test_key_of_candidates_is_read(self) -> None:
        candidates = Derived(key=("name",), group=("id",), select="{candidates}")
        assert columns_before(replace(MAPPING, derived=candidates)) == ("title",)


@pytest.fixture
def compiled(site) -> Callable[..., Any]:
    """Return a function that compiles the plugin `one` beside the other named plugins."""

    def build(*others: str, columns: int = 0) -> Any:
        plugins = discovery.installed()
        for name in ("one", *others):
            discovery.load(plugins[name])
        usable = [plugins[name] for name in ("one", *others)]
        if columns:
            extra = tuple(Column(f"c{number}") for number in range(columns))
            usable[0].mapping = replace(usable[0].mapping, columns=(Column("id"), *extra))
        names = [column.name for column in usable[0].mapping.columns]
        return compile_mapping(
            usable[0],
            usable,
            {name: CatalogColumn(name, "text", nullable=True) for name in names},
            Policies(PolicyFiles(version=0, digest="", policies=())),
            EventSource(decode=list, shape_of=lambda _: None, subject=lambda _: ""),
            origins=NOT_READ,
            resolve=lambda *_: {},
        )

    return build


@pytest.mark.parametrize(
    ("key", "personal", "masked", "unmasked"),
    [
        (("id",), (), (), True),
        (("id", "unmapped"), (), (), True),
        ((), (), (), False),
        (("id",), ("id",), (), False),
        (("unmapped",), ("unmapped",), (), False),
        (("id",), (), ("id",), False),
        (("unmapped",), (), ("unmapped",), False),
        (("id",), ("name",), ("name",), True),
    ],
)
def test_source_key_is_unmasked_unless_personal(
    key: tuple[str, ...], personal: tuple[str, ...], masked: tuple[str, ...], *, unmasked: bool
) -> None:
    """A column is personal by its classification or by any policy, mapped or not."""
    policies = SimpleNamespace(hides=lambda name: name.column in {*personal, *masked})
    columns = frozenset(
        c.name for c in MAPPING.columns if not {*personal, *masked} & {c.name, *c.sources}
    )
    assert _is_key_unmasked(MAPPING, policies, columns, key) is unmasked


WITH_ON_DELETE = """
from dataclasses import replace
from sink_runner.plugin import Delete, Ignore, SetColumns

_declared = sink_mapping

@hookimpl
def sink_mapping():
    return replace(_declared(), on_delete={})
"""


class TestOppositeMappings:
    def test_only_writes_of_opposite_mapping_are_echoes(
        self, site, compiled: Callable[..., Any]
    ) -> None:
        site.mapping("one", "north.public.t", "south.public.t", WITH_ON_DELETE.format("Ignore()"))
        site.mapping("back", "south.public.t", "north.public.t")
        site.mapping("onward", "south.public.t", "west.public.t")
        assert compiled("back", "onward").route._echoes == ("sink/back/",)

    @pytest.mark.parametrize("action", ["Delete()", "SetColumns({'gone': True})"])
    def test_opposite_mappings_may_not_delete(
        self, site, compiled: Callable[..., Any], action: str
    ) -> None:
        site.mapping("one", "north.public.t", "south.public.t", WITH_ON_DELETE.format(action))
        site.mapping("back", "south.public.t", "north.public.t")
        with pytest.raises(ConfigError, match=r"'one' and 'back' feed each other.*Review\(\)"):
            compiled("back")
        compiled()


def test_readers_are_the_reader_dsns() -> None:
    databases = {
        name: Database(dsn=Dsn.of(f"w {name}"), reader_dsn=Dsn.of(f"r {name}"))
        for name in ("n", "s")
    }
    config = Config(kafka=None, registry=None, databases=databases, dead_letters=None)
    readers = {name: dsn.read() for name, dsn in config.readers.items()}
    assert readers == {"n": "r n", "s": "r s"}


class TestEncryptor:
    def test_key_is_base64(self) -> None:
        key = base64.b64encode(b"k" * 32).decode()
        config = SimpleNamespace(dead_letters=DeadLetters(key=key, key_id="one"))
        assert build_encryptor(config).key == b"k" * 32

    @pytest.mark.parametrize("key", ["no base64", "AAAA", ""])
    def test_invalid_key_is_refused_and_not_printed(self, key: str) -> None:
        with pytest.raises(ConfigError) as caught:
            build_encryptor(SimpleNamespace(dead_letters=DeadLetters(key=key, key_id="one")))
        assert not key or key not in str(caught.value)


def test_unknown_database_is_named() -> None:
    context = RuntimeContext(
        config=SimpleNamespace(databases={"north": None}),
        policies=None,
        schemas=None,
        plugins=[],
        stop=None,
    )
    with pytest.raises(ConfigError, match="unknown database 'south'; configured databases: north"):
        context.target(MAPPING)
