"""The watch between the decoder and the registry: what it lets pass, and when it pauses."""

import json
from dataclasses import replace
from io import BytesIO

import fastavro
import pytest

from sink_runner.avro import EnvelopeDecoder
from sink_runner.errors import DecodeError, RetriableError, SchemaError
from sink_runner.plugin import ABSENT, Column
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.schema_watch import SchemaWatch

from .tables import COLUMNS, Memory, Schemas, envelope, policies, row, rules

GONE = {"id": "integer!", "amount": "bigint"}
OTHER = {"id": "integer!", "label": "character varying(20)", "amount": "bigint"}


class Scene:
    """A mapping with a registry, a source table and a memory; all may change."""

    def __init__(self):
        self.schemas, self.memory = Schemas(), Memory()
        self.rules = rules()
        self.table = row(**COLUMNS)
        self.schemas.held = {1: envelope(**COLUMNS), 2: envelope(**GONE), 3: envelope(**OTHER)}
        self.watch = self.another()

    def another(self):
        """The watch of a runner that has just started."""
        return SchemaWatch(
            "one",
            self.schemas,
            rules=lambda: self.rules,
            present=lambda: self.table,
            store=self.memory,
        )

    def decoder(self):
        return EnvelopeDecoder(self.watch, after=("id", "title", "amount"), before=("id",))

    def event(self, schema_id, **after):
        message = BytesIO()
        message.write(b"\0" + schema_id.to_bytes(4, "big"))
        source = {"ts_ms": 0, "snapshot": None, "lsn": 1, "origin": None}
        event = {"before": None, "after": after, "source": source, "op": "u"}
        schema = fastavro.parse_schema(self.schemas.held[schema_id])
        fastavro.schemaless_writer(message, schema, event)
        return message.getvalue()


@pytest.fixture
def scene():
    made = Scene()
    made.watch.start()
    return made


class TestStart:
    def test_the_first_one_keeps_what_the_table_is(self, scene):
        assert scene.memory.kept["one"] == Contract(row=scene.table)

    def test_a_table_that_has_changed_meanwhile_is_refused(self, scene):
        scene.table = row(**GONE)
        with pytest.raises(SchemaError, match=r"mapping 'one'.*title.*gone"):
            scene.another().start()

    def test_it_can_be_waited_for(self, scene):
        assert issubclass(SchemaError, RetriableError)
        scene.table = row(**COLUMNS | {"amount": "integer"})
        again = scene.another()
        with pytest.raises(SchemaError, match="bigint -> integer"):
            again.start()
        scene.table = row(**COLUMNS)
        again.start()

    def test_wider_type_is_what_next_is_compared_with(self, scene):
        scene.table = row(**COLUMNS | {"title": "text"})
        scene.another().start()
        scene.table = row(**COLUMNS)
        with pytest.raises(SchemaError, match=r"text -> character varying\(20\)"):
            scene.another().start()

    def test_nothing_is_written_where_nothing_has_changed(self, scene):
        saved = scene.memory.saved
        scene.another().start()
        assert scene.memory.saved == saved

    def test_work_is_done_after_it(self, scene):
        assert scene.watch.before(lambda: "done")() == "done"
        scene.table = row(**GONE)
        with pytest.raises(SchemaError):
            scene.another().before(lambda: pytest.fail("too early"))()

    def test_the_columns_that_once_were_are_known(self, scene):
        assert scene.another().known() == {*COLUMNS}


class TestNewSchema:
    def test_what_changes_nothing_passes_as_it_is(self, scene):
        assert scene.watch.schema(1) is scene.schemas.held[1]

    def test_a_new_column_passes_and_is_remembered(self, scene):
        scene.schemas.held[4] = envelope(**COLUMNS, grade="integer!")
        assert scene.watch.schema(4) is scene.schemas.held[4]
        assert [*scene.memory.kept["one"].row.columns] == [*COLUMNS, "grade"]

    def test_missing_lengths_stay_known(self, scene):
        scene.schemas.held[4] = envelope(**COLUMNS, grade="integer!")
        scene.watch.schema(4)
        scene.table = row(**COLUMNS | {"title": "character varying(5)"}, grade="integer!")
        with pytest.raises(SchemaError, match=r"\(20\) -> character varying\(5\)"):
            scene.another().start()

    def test_schema_of_other_table_pauses_nothing(self, scene):
        foreign = json.dumps(envelope(**OTHER)).replace("north.public.t", "north.public.other")
        scene.schemas.held[4] = json.loads(foreign)
        good = scene.event(1, id=1, title="a", amount=1)
        bad = scene.event(4, id=2, amount=2, label="b")
        first, fault, last = scene.decoder().decode_many([good, bad, good])
        assert first == last
        assert first.after == (1, "a", 1)
        assert isinstance(fault, DecodeError)
        assert "schema 4 is of north.public.other, not of " in str(fault)

    def test_its_own_table_may_be_spelt_otherwise(self, scene):
        other = json.dumps(envelope(**COLUMNS)).replace("north.public.t", "_1north.public.t")
        scene.schemas.held[4] = json.loads(other)
        gone = json.dumps(envelope(**GONE)).replace("north.public.t", "_1north.public.t")
        scene.schemas.held[5] = json.loads(gone)
        assert scene.watch.schema(4) is scene.schemas.held[4]
        scene.table = row(**GONE)
        with pytest.raises(SchemaError):
            scene.watch.schema(5)

    def test_schema_of_key_pauses_nothing(self, scene):
        key = {"name": "Key", "type": "record", "fields": [{"name": "id", "type": "int"}]}
        scene.schemas.held[4] = key
        (fault,) = scene.decoder().decode_many([b"\0\0\0\0\4\2"])
        assert isinstance(fault, DecodeError)

    @pytest.mark.parametrize(("number", "columns"), [(2, GONE), (3, OTHER)])
    def test_a_column_that_is_gone_or_renamed_pauses(self, scene, number, columns):
        scene.table = row(**columns)
        for _ in range(2):
            with pytest.raises(SchemaError, match=f"title.*schema {number}.*restart"):
                scene.decoder().decode_many(
                    [
                        scene.event(1, id=1, title="a", amount=1),
                        scene.event(number, id=2, amount=2, label="b"),
                    ]
                )

    def test_a_narrower_type_pauses(self, scene):
        narrow = COLUMNS | {"amount": "integer"}
        scene.table, scene.schemas.held[4] = row(**narrow), envelope(**narrow)
        with pytest.raises(SchemaError, match="bigint -> int"):
            scene.watch.schema(4)

    def test_other_primary_key_pauses_mapping(self, scene):
        columns = COLUMNS | {"amount": "bigint!"}
        scene.table = row(key=("id", "amount"), **columns)
        scene.schemas.held[4] = envelope(**columns)
        with pytest.raises(SchemaError, match=r"primary key.*was \(id\) and is \(id, amount\)"):
            scene.watch.schema(4)
        scene.table = row(**COLUMNS)
        assert scene.watch.schema(4) is scene.schemas.held[4]

    def test_what_looks_personal_pauses_until_it_is_classified(self, scene):
        grown = COLUMNS | {"mobile_no": "text"}
        scene.table, scene.schemas.held[4] = row(**grown), envelope(**grown)
        with pytest.raises(SchemaError, match=r"mobile_no.*classification\.json"):
            scene.watch.schema(4)
        scene.rules = rules(known=policies("mobile_no"))
        assert scene.watch.schema(4) is scene.schemas.held[4]

    def test_known_schema_is_not_checked_again(self, scene):
        decoder = scene.decoder()
        event = scene.event(1, id=1, title="a", amount=1)
        decoder.decode_many([event] * 3)
        decoder.decode_many([event] * 3)
        assert scene.schemas.requested == [1]


class TestTheTableIsAsItWas:
    """What came in between is read; a column under another name is read under its own."""

    def test_a_column_that_was_renamed_loses_nothing(self, scene):
        event = scene.event(3, id=2, label="while renamed", amount=2)
        scene.table = row(**OTHER)
        with pytest.raises(SchemaError):
            scene.decoder().decode(event)
        scene.table = row(**COLUMNS)
        decoder = scene.decoder()
        twice = [decoder.decode(event).after for _ in range(2)]
        assert twice == [(2, "while renamed", 2)] * 2

    def test_renamed_column_known_to_plugin_passes(self, scene):
        """What was written under the old name is read under the new one."""
        event = scene.event(1, id=2, title="before", amount=2)
        scene.table = row(**OTHER)
        scene.rules = rules(columns=(Column("id"), Column("name", "label"), Column("amount")))
        watch = scene.another()
        watch.start()
        decoder = EnvelopeDecoder(watch, after=("id", "label", "amount"))
        assert decoder.decode(event).after == (2, "before", 2)

    def test_a_column_that_was_gone_is_left_alone(self, scene):
        decoded = scene.decoder().decode(scene.event(2, id=2, amount=2))
        assert decoded.after == (2, ABSENT, 2)

    def test_it_is_not_what_next_is_compared_with(self, scene):
        scene.decoder().decode(scene.event(2, id=2, amount=2))
        assert [*scene.memory.kept["one"].row.columns] == [*COLUMNS]

    def test_previous_narrower_schema_is_read(self, scene):
        scene.schemas.held[4] = envelope(**COLUMNS | {"amount": "integer"})
        assert scene.decoder().decode(scene.event(4, id=1, title=None, amount=3)).after[2] == 3

    def test_another_type_is_for_a_person_to_accept(self, scene):
        scene.schemas.held[4] = envelope(**COLUMNS | {"amount": "text"})
        with pytest.raises(SchemaError, match="another type"):
            scene.watch.schema(4)

    def test_swapped_names_need_a_decision(self, scene):
        """Read as it is, each column would have the other's values."""
        swapped = {"id": "integer!", "other": "text", "title": "text"}
        scene.memory.kept["one"] = Contract(row=row(id="integer!", title="text", other="text"))
        scene.table = scene.memory.kept["one"].row
        scene.schemas.held[4] = envelope(**swapped)
        scene.rules = rules(columns=(Column("id"), Column("name", "title")))
        with pytest.raises(SchemaError, match=r"title.*other"):
            scene.another().schema(4)

    def test_reused_name_differs_from_previous_schema(self, scene):
        now = {"id": "integer!", "amount": "bigint", "old": "text", "title": "text"}
        scene.memory.kept["one"] = Contract(row=row(id="integer!", amount="bigint", title="text"))
        scene.schemas.held[4] = envelope(**now)
        scene.table = row(**now)
        with pytest.raises(SchemaError, match=r"title.*another column"):
            scene.another().schema(4)
        scene.table = scene.memory.kept["one"].row
        assert scene.another().schema(4) is scene.schemas.held[4]


class TestAccepted:
    def test_schema_that_person_accepted_meanwhile_is_read(self, scene):
        scene.table = row(**GONE)
        with pytest.raises(SchemaError):
            scene.watch.schema(2)
        kept, met = scene.memory.kept["one"], replace(row(**GONE), schema_id=2)
        scene.memory.kept["one"] = kept.accepting(met, frozenset({"id", "title", "amount"}))
        decoder, event = scene.decoder(), scene.event(2, id=2, amount=2)
        assert [decoder.decode(event).after for _ in range(2)] == [(2, None, 2)] * 2

    def test_equal_later_schemas_are_decided_alike(self, scene):
        scene.table, kept = row(**GONE), scene.memory.kept["one"]
        scene.memory.kept["one"] = kept.accepting(scene.table, frozenset(COLUMNS))
        assert scene.decoder().decode(scene.event(2, id=2, amount=2)).after == (2, None, 2)
        scene.another().start()

    def test_what_is_accepted_is_not_everything(self, scene):
        kept = scene.memory.kept["one"]
        scene.memory.kept["one"] = kept.accepting(row(**GONE), frozenset(COLUMNS))
        scene.table = row(id="integer!")
        scene.schemas.held[4] = envelope(id="integer!")
        with pytest.raises(SchemaError, match="amount"):
            scene.watch.schema(4)

    def test_older_runner_keeps_newer_decision(self, scene):
        """It looks at what is kept only once in a while; a person may be faster."""
        grown = COLUMNS | {"grade": "integer"}
        scene.schemas.held |= {4: envelope(**grown), 5: envelope(**GONE, grade="integer")}
        scene.watch.schema(1)
        scene.table = row(**GONE, grade="integer")
        kept = scene.memory.kept["one"]
        scene.memory.kept["one"] = kept.accepting(scene.table, frozenset(COLUMNS))
        assert scene.watch.schema(4) is scene.schemas.held[4]
        assert scene.memory.kept["one"].missing == {"title"}
        assert scene.decoder().decode(scene.event(5, id=2, amount=2, grade=1)).after == (2, None, 2)

    def test_returned_column_is_missed_when_dropped(self, scene):
        kept = scene.memory.kept["one"]
        scene.memory.kept["one"] = kept.accepting(row(**GONE), frozenset(COLUMNS))
        scene.another().start()
        assert scene.memory.kept["one"].missing == frozenset()
        scene.table = row(**GONE)
        with pytest.raises(SchemaError, match=r"title.*gone"):
            scene.another().start()

    def test_nor_does_start_that_person_was_faster_than(self, scene):
        scene.table = row(**COLUMNS | {"amount": "numeric(30)"})
        scene.memory.kept["one"] = Contract(row=row(**COLUMNS | {"amount": "numeric(20)"}))
        watch, load = scene.another(), scene.memory.load

        def overtaken(mapping):
            found = load(mapping)
            scene.memory.kept[mapping] = replace(found, accepted=frozenset({9}))
            return found

        scene.memory.load = overtaken
        watch.start()
        assert scene.memory.kept["one"].accepted == {9}
