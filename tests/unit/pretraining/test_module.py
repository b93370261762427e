"""The LightningModule of a pretraining."""

from __future__ import annotations

import pytest
import torch

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


@pytest.mark.parametrize("name", ["lgdea", "clip", "gloria"])
def test_everything_that_is_trained_is_saved(config, tmp_path, name):
    settings = config(name)
    module, _ = build_training(settings, read_inputs(settings, tmp_path))
    trained = {parameter for parameter, p in module.named_parameters() if p.requires_grad}
    assert trained <= {f"model.{parameter}" for parameter in module.model.state_dict()}


def test_training_and_inference_take_pooled_evidence_by_one_scale(config, tmp_path):
    settings = config("lgdea")
    module, data = build_training(settings, read_inputs(settings, tmp_path))
    model, batch = module.model.eval(), data.builder[data.sampler.draw(0)]
    text = module._text_outputs(batch)
    with torch.no_grad():
        model.log_presence_scale += 0.5
        model.presence_bias -= 1
        encoded = model.forward_text(batch["report_ids"], batch["report_mask"])
        changed = module._text_outputs(batch).report_logits
    torch.testing.assert_close(changed, model.report_logits(encoded, text.phrases))
    assert not torch.allclose(changed, text.report_logits)
