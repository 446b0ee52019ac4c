"""The schema watch between decoder and registry: schemas that pass, and those that pause."""

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

from .tables import COLUMNS, FakeRegistry, MemoryStore, envelope, policies, row, rules

DROPPED = {"id": "integer!", "amount": "bigint"}
RENAMED = {"id": "integer!", "label": "character varying(20)", "amount": "bigint"}


class Environment:
    """A mapping with a registry, a source table and a store of contracts."""

    def __init__(self):
        self.registry, self.store = FakeRegistry(), MemoryStore()
        self.rules = rules()
        self.table = row(**COLUMNS)
        self.registry.schemas = {
            1: envelope(**COLUMNS),
            2: envelope(**DROPPED),
            3: envelope(**RENAMED),
        }
        self.watch = self.new_watch()

    def new_watch(self):
        """Return the watch of a runner that has just started."""
        return SchemaWatch(
            "one",
            self.registry,
            rules=lambda: self.rules,
            present=lambda: self.table,
            store=self.store,
        )

    def decoder(self):
        return EnvelopeDecoder(self.watch, after=("id", "title", "amount"), before=("id",))

    def event(self, schema_id, **after):
        message = BytesIO()
        message.write(b"\0" + schema_id.to_bytes(4, "big"))
        source = {"ts_ms": 0, "snapshot": None, "lsn": 1, "origin": None}
        event = {"before": None, "after": after, "source": source, "op": "u"}
        schema = fastavro.parse_schema(self.registry.schemas[schema_id])
        fastavro.schemaless_writer(message, schema, event)
        return message.getvalue()


@pytest.fixture
def environment():
    environment = Environment()
    environment.watch.start()
    return environment


class TestStart:
    def test_first_start_stores_contract_of_table(self, environment):
        assert environment.store.contracts["one"] == Contract(row=environment.table)

    def test_table_changed_since_last_run_is_refused(self, environment):
        environment.table = row(**DROPPED)
        with pytest.raises(SchemaError, match=r"mapping 'one'.*title.*gone"):
            environment.new_watch().start()

    def test_refusal_is_transient_error(self, environment):
        assert issubclass(SchemaError, RetriableError)
        environment.table = row(**COLUMNS | {"amount": "integer"})
        watch = environment.new_watch()
        with pytest.raises(SchemaError, match="bigint -> integer"):
            watch.start()
        environment.table = row(**COLUMNS)
        watch.start()

    def test_wider_type_replaces_type_in_contract(self, environment):
        environment.table = row(**COLUMNS | {"title": "text"})
        environment.new_watch().start()
        environment.table = row(**COLUMNS)
        with pytest.raises(SchemaError, match=r"text -> character varying\(20\)"):
            environment.new_watch().start()

    def test_unchanged_table_writes_nothing(self, environment):
        saved = environment.store.updates
        environment.new_watch().start()
        assert environment.store.updates == saved

    def test_work_runs_after_check_only(self, environment):
        assert environment.watch.before(lambda: "done")() == "done"
        environment.table = row(**DROPPED)
        with pytest.raises(SchemaError):
            environment.new_watch().before(lambda: pytest.fail("too early"))()

    def test_columns_of_contract_are_known(self, environment):
        assert environment.new_watch().known() == {*COLUMNS}


class TestNewSchema:
    def test_unchanged_schema_passes(self, environment):
        assert environment.watch.schema(1) is environment.registry.schemas[1]

    def test_new_column_passes_and_is_stored(self, environment):
        environment.registry.schemas[4] = envelope(**COLUMNS, grade="integer!")
        assert environment.watch.schema(4) is environment.registry.schemas[4]
        assert [*environment.store.contracts["one"].row.columns] == [*COLUMNS, "grade"]

    def test_contract_keeps_lengths_missing_in_registry(self, environment):
        environment.registry.schemas[4] = envelope(**COLUMNS, grade="integer!")
        environment.watch.schema(4)
        environment.table = row(**COLUMNS | {"title": "character varying(5)"}, grade="integer!")
        with pytest.raises(SchemaError, match=r"\(20\) -> character varying\(5\)"):
            environment.new_watch().start()

    def test_schema_of_other_table_is_data_error(self, environment):
        foreign = json.dumps(envelope(**RENAMED)).replace("north.public.t", "north.public.other")
        environment.registry.schemas[4] = json.loads(foreign)
        good = environment.event(1, id=1, title="a", amount=1)
        bad = environment.event(4, id=2, amount=2, label="b")
        first, error, last = environment.decoder().decode_many([good, bad, good])
        assert first == last
        assert first.after == (1, "a", 1)
        assert isinstance(error, DecodeError)
        assert "schema 4 is of north.public.other, not of " in str(error)

    def test_adjusted_name_of_table_is_recognized(self, environment):
        other = json.dumps(envelope(**COLUMNS)).replace("north.public.t", "_1north.public.t")
        environment.registry.schemas[4] = json.loads(other)
        dropped = json.dumps(envelope(**DROPPED)).replace("north.public.t", "_1north.public.t")
        environment.registry.schemas[5] = json.loads(dropped)
        assert environment.watch.schema(4) is environment.registry.schemas[4]
        environment.table = row(**DROPPED)
        with pytest.raises(SchemaError):
            environment.watch.schema(5)

    def test_schema_of_key_is_data_error(self, environment):
        key = {"name": "Key", "type": "record", "fields": [{"name": "id", "type": "int"}]}
        environment.registry.schemas[4] = key
        (error,) = environment.decoder().decode_many([b"\0\0\0\0\4\2"])
        assert isinstance(error, DecodeError)

    @pytest.mark.parametrize(("number", "columns"), [(2, DROPPED), (3, RENAMED)])
    def test_dropped_or_renamed_column_pauses(self, environment, number, columns):
        environment.table = row(**columns)
        for _ in range(2):
            with pytest.raises(SchemaError, match=f"title.*schema {number}.*restart"):
                environment.decoder().decode_many(
                    [
                        environment.event(1, id=1, title="a", amount=1),
                        environment.event(number, id=2, amount=2, label="b"),
                    ]
                )

    def test_narrower_type_pauses(self, environment):
        narrow = COLUMNS | {"amount": "integer"}
        environment.table, environment.registry.schemas[4] = row(**narrow), envelope(**narrow)
        with pytest.raises(SchemaError, match="bigint -> int"):
            environment.watch.schema(4)

    def test_other_primary_key_pauses_mapping(self, environment):
        columns = COLUMNS | {"amount": "bigint!"}
        environment.table = row(key=("id", "amount"), **columns)
        environment.registry.schemas[4] = envelope(**columns)
        with pytest.raises(SchemaError, match=r"primary key.*was \(id\) and is \(id, amount\)"):
            environment.watch.schema(4)
        environment.table = row(**COLUMNS)
        assert environment.watch.schema(4) is environment.registry.schemas[4]

    def test_column_that_looks_personal_pauses_until_classified(self, environment):
        grown = COLUMNS | {"mobile_no": "text"}
        environment.table, environment.registry.schemas[4] = row(**grown), envelope(**grown)
        with pytest.raises(SchemaError, match=r"mobile_no.*classification\.json"):
            environment.watch.schema(4)
        environment.rules = rules(known=policies("mobile_no"))
        assert environment.watch.schema(4) is environment.registry.schemas[4]

    def test_known_schema_is_not_checked_again(self, environment):
        decoder = environment.decoder()
        event = environment.event(1, id=1, title="a", amount=1)
        decoder.decode_many([event] * 3)
        decoder.decode_many([event] * 3)
        assert environment.registry.requested == [1]


class TestRestoredTable:
    """The table has its old columns again; events from between are decoded."""

    def test_column_renamed_and_back_loses_nothing(self, environment):
        event = environment.event(3, id=2, label="while renamed", amount=2)
        environment.table = row(**RENAMED)
        with pytest.raises(SchemaError):
            environment.decoder().decode(event)
        environment.table = row(**COLUMNS)
        decoder = environment.decoder()
        decoded = [decoder.decode(event).after for _ in range(2)]
        assert decoded == [(2, "while renamed", 2)] * 2

    def test_renamed_column_known_to_plugin_passes(self, environment):
        """A value under the old name is decoded under the new one."""
        event = environment.event(1, id=2, title="before", amount=2)
        environment.table = row(**RENAMED)
        environment.rules = rules(columns=(Column("id"), Column("name", "label"), Column("amount")))
        watch = environment.new_watch()
        watch.start()
        decoder = EnvelopeDecoder(watch, after=("id", "label", "amount"))
        assert decoder.decode(event).after == (2, "before", 2)

    def test_column_dropped_and_added_is_absent(self, environment):
        decoded = environment.decoder().decode(environment.event(2, id=2, amount=2))
        assert decoded.after == (2, ABSENT, 2)

    def test_schema_from_between_does_not_change_contract(self, environment):
        environment.decoder().decode(environment.event(2, id=2, amount=2))
        assert [*environment.store.contracts["one"].row.columns] == [*COLUMNS]

    def test_previous_narrower_schema_is_read(self, environment):
        environment.registry.schemas[4] = envelope(**COLUMNS | {"amount": "integer"})
        assert (
            environment.decoder().decode(environment.event(4, id=1, title=None, amount=3)).after[2]
            == 3
        )

    def test_schema_with_another_type_must_be_accepted(self, environment):
        environment.registry.schemas[4] = envelope(**COLUMNS | {"amount": "text"})
        with pytest.raises(SchemaError, match="another type"):
            environment.watch.schema(4)

    def test_swapped_names_pause(self, environment):
        """Without a decision, each column would get the values of the other."""
        swapped = {"id": "integer!", "other": "text", "title": "text"}
        environment.store.contracts["one"] = Contract(
            row=row(id="integer!", title="text", other="text")
        )
        environment.table = environment.store.contracts["one"].row
        environment.registry.schemas[4] = envelope(**swapped)
        environment.rules = rules(columns=(Column("id"), Column("name", "title")))
        with pytest.raises(SchemaError, match=r"title.*other"):
            environment.new_watch().schema(4)

    def test_reused_name_differs_from_previous_schema(self, environment):
        now = {"id": "integer!", "amount": "bigint", "old": "text", "title": "text"}
        environment.store.contracts["one"] = Contract(
            row=row(id="integer!", amount="bigint", title="text")
        )
        environment.registry.schemas[4] = envelope(**now)
        environment.table = row(**now)
        with pytest.raises(SchemaError, match=r"title.*another column"):
            environment.new_watch().schema(4)
        environment.table = environment.store.contracts["one"].row
        assert environment.new_watch().schema(4) is environment.registry.schemas[4]


class TestAccepted:
    def test_accepted_schema_is_decoded(self, environment):
        environment.table = row(**DROPPED)
        with pytest.raises(SchemaError):
            environment.watch.schema(2)
        contract, current = environment.store.contracts["one"], replace(row(**DROPPED), schema_id=2)
        environment.store.contracts["one"] = contract.accepting(
            current, frozenset({"id", "title", "amount"})
        )
        decoder, event = environment.decoder(), environment.event(2, id=2, amount=2)
        assert [decoder.decode(event).after for _ in range(2)] == [(2, None, 2)] * 2

    def test_later_equal_schema_is_accepted(self, environment):
        environment.table, contract = row(**DROPPED), environment.store.contracts["one"]
        environment.store.contracts["one"] = contract.accepting(
            environment.table, frozenset(COLUMNS)
        )
        assert environment.decoder().decode(environment.event(2, id=2, amount=2)).after == (
            2,
            None,
            2,
        )
        environment.new_watch().start()

    def test_another_change_is_not_accepted(self, environment):
        contract = environment.store.contracts["one"]
        environment.store.contracts["one"] = contract.accepting(row(**DROPPED), frozenset(COLUMNS))
        environment.table = row(id="integer!")
        environment.registry.schemas[4] = envelope(id="integer!")
        with pytest.raises(SchemaError, match="amount"):
            environment.watch.schema(4)

    def test_older_runner_keeps_newer_decision(self, environment):
        """It reads the stored contract only now and then; a decision may come in between."""
        grown = COLUMNS | {"grade": "integer"}
        environment.registry.schemas |= {
            4: envelope(**grown),
            5: envelope(**DROPPED, grade="integer"),
        }
        environment.watch.schema(1)
        environment.table = row(**DROPPED, grade="integer")
        contract = environment.store.contracts["one"]
        environment.store.contracts["one"] = contract.accepting(
            environment.table, frozenset(COLUMNS)
        )
        assert environment.watch.schema(4) is environment.registry.schemas[4]
        assert environment.store.contracts["one"].missing == {"title"}
        assert environment.decoder().decode(
            environment.event(5, id=2, amount=2, grade=1)
        ).after == (2, None, 2)

    def test_accepted_column_that_returns_is_required_again(self, environment):
        contract = environment.store.contracts["one"]
        environment.store.contracts["one"] = contract.accepting(row(**DROPPED), frozenset(COLUMNS))
        environment.new_watch().start()
        assert environment.store.contracts["one"].missing == frozenset()
        environment.table = row(**DROPPED)
        with pytest.raises(SchemaError, match=r"title.*gone"):
            environment.new_watch().start()

    def test_start_keeps_decision_made_meanwhile(self, environment):
        environment.table = row(**COLUMNS | {"amount": "numeric(30)"})
        environment.store.contracts["one"] = Contract(
            row=row(**COLUMNS | {"amount": "numeric(20)"})
        )
        watch, load = environment.new_watch(), environment.store.load

        def load_before_decision(mapping):
            contract = load(mapping)
            environment.store.contracts[mapping] = replace(contract, accepted=frozenset({9}))
            return contract

        environment.store.load = load_before_decision
        watch.start()
        assert environment.store.contracts["one"].accepted == {9}
