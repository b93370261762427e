from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.models.image_tower import build_image_tower
from lgdea.models.text_tower import build_text_tower, load_tokenizer, rebuild_text_tower, train_tokenizer
from tests.helpers.vision_encoders import SIDE, vision_encoder

CORPUS = ["moderate pleural effusion", "compressive atelectasis of the lower lobe", "the heart is enlarged"]

TINY = {"num_hidden_layers": 1, "vocab_size": 50, "num_attention_heads": 2}


def tiny_folder(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    width = (
        {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 50} if kind == "gpt2" else {**TINY, "hidden_size": 16}
    )
    if kind == "llama":
        width |= {"intermediate_size": 32, "num_key_value_heads": 2}
    AutoModel.from_config(AutoConfig.for_model(kind, **width)).save_pretrained(folder)
    return folder


def test_tokenizer_is_lower_casing_and_knows_its_corpus(tokenizer: PreTrainedTokenizerFast) -> None:
    upper, lower = tokenizer("LEFT Pleural effusion"), tokenizer("left pleural effusion")
    assert upper["input_ids"] == lower["input_ids"]
    assert tokenizer.decode(lower["input_ids"], skip_special_tokens=True) == "left pleural effusion"
    assert lower["input_ids"][0] == tokenizer.cls_token_id
    assert lower["input_ids"][-1] == tokenizer.sep_token_id
    assert tokenizer.unk_token_id in tokenizer("%%")["input_ids"]


def test_tokenizer_does_not_depend_on_the_order_of_reports() -> None:
    texts = [f"{side} {name} {number}" for side in ("left", "right") for name in CORPUS for number in range(9)]
    vocabulary = train_tokenizer(texts, 100).get_vocab()
    assert len(vocabulary) == 100
    assert train_tokenizer(texts[::-1], 100).get_vocab() == vocabulary


def test_tokenizer_survives_its_folder(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(str(tmp_path))
    again = load_tokenizer(tmp_path)
    text = ["Moderate LEFT effusion, no pneumothorax."]
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.pad_token == "[PAD]"


def test_no_text_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(["", "  "])


def test_small_bert_pools_by_the_mean_of_real_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    tower = build_text_tower("small-bert", False, tokenizer).eval()
    batch = tokenizer(["left effusion", "moderate left pleural effusion"], padding=True, return_tensors="pt")
    out = tower(batch["input_ids"], batch["attention_mask"])
    assert out["tokens"].shape == (*batch["input_ids"].shape, 128)
    length = int(batch["attention_mask"][0].sum())
    assert length < batch["input_ids"].shape[1]
    torch.testing.assert_close(out["pooled"][0], out["tokens"][0, :length].mean(0))
    # Padding changes nothing.
    alone = tower(batch["input_ids"][:1, :length], batch["attention_mask"][:1, :length])
    torch.testing.assert_close(out["pooled"][:1], alone["pooled"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("distilbert", "mean"), ("gpt2", "last"), ("llama", "last")]
)
def test_any_hugging_face_model_finds_its_pooling(kind: str, pooling: str, tmp_path: Path) -> None:
    if kind == "distilbert":
        config = AutoConfig.for_model(kind, dim=16, n_layers=1, n_heads=2, hidden_dim=32, vocab_size=50)
        AutoModel.from_config(config).save_pretrained(tmp_path)
    else:
        tiny_folder(kind, tmp_path)
    tower = build_text_tower(str(tmp_path), True).eval()
    assert (tower.pooling, tower.dim) == (pooling, 16)
    ids = torch.tensor([[3, 4, 5, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    out = tower(ids, mask)
    expected = out["tokens"][0, :3].mean(0) if pooling == "mean" else out["tokens"][0, 2]
    torch.testing.assert_close(out["pooled"][0], expected)


def test_last_token_is_found_with_padding_on_either_side(tmp_path: Path) -> None:
    tower = build_text_tower(str(tiny_folder("gpt2", tmp_path)), True).eval()
    left = tower(torch.tensor([[0, 0, 3, 4]]), torch.tensor([[0, 0, 1, 1]]))
    torch.testing.assert_close(left["pooled"], left["tokens"][:, 3])


def test_pretrained_loads_weights_and_rebuilding_does_not(tmp_path: Path) -> None:
    folder = tiny_folder("bert", tmp_path)
    tower = build_text_tower(str(folder), True)
    reference = AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(reference[k], v) for k, v in tower.backbone.state_dict().items())
    torch.manual_seed(7)
    again = rebuild_text_tower(tower.describe())
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in tower.state_dict().items()}
    assert again.describe() == tower.describe()
    assert not torch.equal(
        again.backbone.embeddings.word_embeddings.weight, tower.backbone.embeddings.word_embeddings.weight
    )


def test_a_folder_gives_its_weights_or_has_to_say_that_random_ones_are_wanted(tmp_path: Path, caplog) -> None:
    folder = tiny_folder("bert", tmp_path)
    wanted = AutoModel.from_pretrained(folder).state_dict()

    def same(tower: torch.nn.Module) -> bool:
        return all(torch.equal(wanted[k], v) for k, v in tower.backbone.state_dict().items())

    assert same(build_text_tower(str(folder)))
    assert not same(build_text_tower(str(folder), False))
    assert not caplog.records
    (folder / "model.safetensors").unlink()
    for pretrained in (None, True):
        with pytest.raises(UsageError, match=r"holds no weights; copy model.safetensors .* text.pretrained: false"):
            build_text_tower(str(folder), pretrained)
    assert not same(build_text_tower(str(folder), False))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_weights_that_cannot_be_trained_on_are_one_line_with_their_file(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tower"
    if kind == "text":
        model, build = AutoModel.from_pretrained(tiny_folder("bert", tmp_path)), lambda: build_text_tower(str(folder))
    else:
        model, build = vision_encoder("vit", tmp_path), lambda: build_image_tower(f"hf:{folder}", None, SIDE)
    model.save_pretrained(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=rf"model.safetensors: the weights of the {kind} tower are damaged .*copy the"):
        build()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(
        {name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(DataError, match=r"tensor \S+ holds values that are not finite"):
        build()
    (folder / "model.safetensors").unlink()
    torch.save({"weights": Path("x")}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model.bin: holds more than .* never unpickled; save .* safetensors"):
        build()


def test_what_cannot_be_had_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for call in (lambda: build_text_tower("nobody/nothing", True), lambda: load_tokenizer("nobody/nothing")):
        with pytest.raises(UsageError, match="'nobody/nothing' cannot be loaded") as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="the folder of the text tower is empty"):
        build_text_tower(str(tmp_path), True)
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        build_text_tower("small-bert")
    with pytest.raises(ConfigError, match="no pretrained weights"):
        build_text_tower("small-bert", True, tokenizer)
