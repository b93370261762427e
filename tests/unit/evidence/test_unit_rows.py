"""Units as a run makes them: rows that their table checks by columns."""

import pytest

from lgdea.errors import DataError
from lgdea.evidence.schema import Unit, UnitRow
from lgdea.records.tables import to_arrow, tuples_to_arrow

GOOD = UnitRow(
    "u", "r:1", "findings", "Small effusion", 4, 18, "exact", "pleural_effusion", "effusion", "present", None, "left",
    "mild", "new", True, "run",
)  # fmt: skip


def test_rows_have_the_fields_of_the_model_in_its_order():
    assert UnitRow._fields == tuple(Unit.model_fields)
    assert GOOD.check().model_dump() == GOOD._asdict()
    assert GOOD.content() == GOOD.check().model_dump(exclude={"run_id"})


@pytest.mark.parametrize("rows", [[], [GOOD], [GOOD, GOOD._replace(anatomy="lung", start=0)]])
def test_a_table_of_tuples_is_the_table_of_its_models(rows):
    table = tuples_to_arrow(rows, Unit, file="evidence.parquet")
    assert table.equals(to_arrow([row.check() for row in rows], Unit, file="evidence.parquet"), check_metadata=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("assertion", "maybe"), ("laterality", "both"), ("alignment", None), ("quote", None), ("start", -1),
        ("end", "x"), ("finding", 3), ("refers_to_prior", "perhaps"), ("anatomy", 1.5),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_named_with_its_row(field, value):
    rows = [GOOD, GOOD._replace(**{field: value}), GOOD]
    with pytest.raises(DataError, match=rf"evidence\.parquet row 2: {field}: .*correct the row at its source"):
        tuples_to_arrow(rows, Unit, file="evidence.parquet")
