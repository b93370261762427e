"""The LightningModule of a pretraining."""

from __future__ import annotations

import pytest
import torch

from lgdea.errors import UsageError
from lgdea.pretraining.build import build_training
from lgdea.pretraining.inputs import read_inputs

SMALL_TEXT = {"hidden": 32, "layers": 1, "vocab_size": 300}


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


def test_a_tower_has_a_learning_rate_of_its_own(config, tmp_path):
    image = {"tower": "test_resnet", "size": 32, "stride": 4, "lr_scale": 0.1}
    settings = config("lgdea", optimizer={"lr": 1e-3}, image=image, text={**SMALL_TEXT, "lr_scale": 0.01})
    module, _ = build_training(settings, read_inputs(settings, tmp_path))
    made = module.configure_optimizers()
    groups = made["optimizer"].param_groups
    rate_of = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    decay_of = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = 0.1 if "image_tower.backbone" in name else 0.01 if "text_tower.backbone" in name else 1
            assert rate_of[id(parameter)] == pytest.approx(1e-3 * scale), name
            assert (decay_of[id(parameter)] == 0) == (parameter.ndim <= 1), name
    assert len(set(rate_of.values())) == 3
    for _ in range(5):  # the schedule keeps the shares
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    now = {round(group["lr"] / group["initial_lr"], 6) for group in groups}
    assert len(now) == 1


def test_without_scales_the_groups_are_those_of_earlier_checkpoints(config, tmp_path):
    settings = config("lgdea")
    module, _ = build_training(settings, read_inputs(settings, tmp_path))
    towers = {id(p) for part in (module.model.image_tower, module.model.text_tower) for p in part.parameters()}
    used = [p for p in module.parameters() if p.requires_grad]
    expected = [
        [id(p) for p in used if (p.ndim <= 1) == plain and (id(p) in towers) == inside]
        for inside in (False, True)
        for plain in (False, True)
    ]
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [[id(p) for p in group["params"]] for group in groups] == expected


def test_a_scale_without_effect_is_refused(config):
    with pytest.raises(ValueError, match=r"text\.lr_scale scales nothing where text\.freeze is all"):
        config("lgdea", text={**SMALL_TEXT, "lr_scale": 0.1, "freeze": "all"})
