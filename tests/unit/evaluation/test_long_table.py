import io

import numpy as np
import pandas as pd
import pytest

from lgdea.evaluation.results.compare import compare_results
from lgdea.evaluation.results.long_table import COLUMNS, long_table, to_csv
from lgdea.evaluation.results.result import Result, Value, read_result, write_result

NASTY = 'a_b & c%, "d"\n<script>'


@pytest.fixture
def folders(tmp_path):
    for i in range(2):
        per_class = {NASTY: {"auroc": Value(0.1 + i / 3, 0.05, 0.7, 12, "zero-shot/auroc-v1")}, "b": {}}
        metrics = {"auroc_macro": Value(np.pi / 4, n=3), "f1_macro": Value(np.nan)}
        write_result(Result("zero-shot", "v1", "m", "x", "test", metrics, per_class, {}), tmp_path / str(i))
    return {"a": tmp_path / "0", NASTY: tmp_path / "1"}


def test_csv_gives_the_results_back(folders):
    text = to_csv(compare_results(folders))
    read = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=dict.fromkeys(("value", "low", "high"), ""))
    assert list(read.columns) == list(COLUMNS)
    for label, folder in folders.items():
        result = read_result(folder)
        expected = {("", m): v for m, v in result.metrics.items()}
        expected |= {(c, m): v for c, values in result.per_class.items() for m, v in values.items()}
        rows = read[read["model"] == label]
        found = {(r["class"], r["metric"]): r for _, r in rows.iterrows()}
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            row = found[key]
            assert [row["value"], row["low"], row["high"]] == pytest.approx(
                [value.value, value.low, value.high], rel=1e-15, nan_ok=True
            )
            assert (row["n"], row["definition"]) == (value.n, value.definition)
    assert set(read["baseline"]) == {"a"}


def test_no_results_is_an_empty_table_with_its_head():
    assert list(long_table([]).columns) == list(COLUMNS)
    assert len(long_table([])) == 0
