"""The LightningModule of a pretraining."""

from __future__ import annotations

import pytest

from lgdea.errors import UsageError
from lgdea.pretraining.build import build_training
from lgdea.pretraining.inputs import read_inputs


def test_a_checkpoint_of_the_first_format_is_refused_by_its_version(config, tmp_path):
    settings = config("lgdea")
    module, _ = build_training(settings, read_inputs(settings, tmp_path))
    saved: dict[str, object] = {}
    module.on_save_checkpoint(saved)
    module.on_load_checkpoint(saved)
    del saved["lgdea_format_version"]  # the first format had no number
    with pytest.raises(UsageError, match="checkpoint has format version 1, this lgdea resumes 2"):
        module.on_load_checkpoint(saved)
