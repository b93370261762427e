"""The entity benchmark, run for real on a tiny phantom, and resumed."""

from __future__ import annotations

import json

from benchmarks.entity import EntityBenchConfig, run_seeds, to_rows


def test_a_seed_is_run_once_and_leaves_its_numbers(tmp_path):
    config = EntityBenchConfig.model_validate(
        {
            "phantom": {"studies": 120, "size": 64, "difficulty": "easy"},
            "pretrain_steps": 3,
            "head_steps": 2,
            "seeds": [0],
        }
    )
    said: list[str] = []
    results = run_seeds(config, tmp_path, say=said.append)
    assert len(said) == 1
    found = results[0]["classes"]["all"]
    assert found["conditioned/recall@1"]["n"] > 0
    gain = found["conditioned-unconditioned/recall@1"]["value"]
    assert abs(gain - found["conditioned/recall@1"]["value"] + found["unconditioned/recall@1"]["value"]) < 1e-9
    file = tmp_path / "results" / "0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": -1.0}))
    assert run_seeds(config, tmp_path, say=said.append)[0]["seconds"] == -1.0  # read, not run
    rows = to_rows(results)
    assert ["all", "conditioned"] in [row[:2] for row in rows]
    higher = json.loads(json.dumps(results[0]))
    higher["classes"]["all"]["conditioned/recall@1"]["value"] = found["conditioned/recall@1"]["value"] + 0.2
    [both] = [row for row in to_rows([results[0], higher]) if row[:2] == ["all", "conditioned"]]
    assert both[2] == f"{found['conditioned/recall@1']['value'] + 0.1:.3f} (SD 0.141)"
