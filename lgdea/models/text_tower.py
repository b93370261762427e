"""Text towers: a small BERT with a tokenizer trained on the corpus, or any Hugging Face encoder or decoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME

from lgdea.errors import ConfigError, DataError, LgdeaError, UsageError
from lgdea.foreign_code import Admitted, admit, readmit
from lgdea.models.cached_rows import unpack
from lgdea.models.finite_weights import require_finite
from lgdea.models.own_code import loading_error, require_place, unasked

SMALL_BERT = "small-bert"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TOKENS = 256

WEIGHT_FILES = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
NO_DOWNLOAD = "; `small-bert` needs no download"
RANDOM_WEIGHTS = "text tower %r starts from random weights; text.pretrained=true loads those of its name"

_log = logging.getLogger(__name__)

Pooling = Literal["auto", "mean", "last"]


class TextTower(nn.Module):
    """A transformers model with one way of pooling: the mean of an encoder's tokens, a decoder's last token."""

    def __init__(
        self, backbone: nn.Module, *, name: str, pooling: Pooling = "auto", code: Admitted | None = None
    ) -> None:
        super().__init__()
        self._code = code if code is not None and code.trusted else None
        self.backbone: Any = backbone
        self.name = name
        model: Any = backbone
        self.dim = int(model.config.hidden_size)
        self.feature_shapes = [(self.dim,)]
        self.pooling = _pooling_of(model.config) if pooling == "auto" else pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Encode a batch of texts, or go on from what :meth:`encode` gave.

        Shapes:
            input_ids, attention_mask (B, T); pooled (B, C); tokens (B, T, C). Or input_ids (B, C) floating point, the
            pooled outputs of a frozen tower; there are then no tokens.
        """
        if input_ids.is_floating_point():
            return {"pooled": unpack(input_ids, self)[0]}
        tokens = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "mean":
            weight = attention_mask[..., None].to(tokens.dtype)
            pooled = (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
        else:
            # The last position that is not padding, whichever side the padding is on.
            places = torch.arange(tokens.shape[1], device=tokens.device)
            last = (attention_mask * (places + 1)).argmax(dim=1)
            pooled = tokens[torch.arange(len(tokens), device=tokens.device), last]
        return {"pooled": pooled, "tokens": tokens}

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Run the backbone: pooled (B, C) alone."""
        return [self(input_ids, attention_mask)["pooled"]]

    def describe(self) -> dict[str, Any]:
        """Describe the tower for :func:`rebuild_text_tower`, which needs no network."""
        config = self.backbone.config.to_diff_dict()
        return {
            "name": self.name,
            "pooling": self.pooling,
            "model_type": self.backbone.config.model_type,
            "config": config,
            **({} if self._code is None else {"own_code": self._code.describe()}),
        }


def build_text_tower(
    name: str = SMALL_BERT,
    pretrained: bool | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    *,
    hidden: int = 128,
    layers: int = 2,
    dropout: float = 0.1,
    pooling: Pooling = "auto",
) -> TextTower:
    """Build the text tower ``name``.

    Args:
        name: ``small-bert`` (random weights, for ``tokenizer``), or any Hugging Face name or local folder.
        pretrained: Load the named model's weights (True) or draw random ones for its architecture (False); None: a
            folder's own weights, of a name random ones, with a warning.
        tokenizer: What made the ids; ``small-bert`` takes its vocabulary size from it.
        hidden: Width of ``small-bert``.
        layers: Depth of ``small-bert``.
        dropout: Dropout of ``small-bert``.
        pooling: ``mean`` or ``last`` token; ``auto`` = mean for encoders, last for decoders.

    Raises:
        ConfigError: ``small-bert`` without a tokenizer or with ``pretrained``.
        UsageError: The model cannot be had.
    """
    if name == SMALL_BERT:
        if tokenizer is None:
            raise ConfigError(f"text tower {name!r} needs a tokenizer", remedy="make one with train_tokenizer")
        if pretrained:
            raise ConfigError(f"text tower {name!r} has no pretrained weights", remedy="set pretrained: false")
        config = AutoConfig.for_model(
            "bert",
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 32),
            intermediate_size=4 * hidden,
            max_position_embeddings=MAX_TOKENS,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=tokenizer.pad_token_id,
        )
        return TextTower(_from_config(config, None, attention=_small_attention()), name=name, pooling=pooling)
    admitted = admit(name)
    require_place(admitted.place, "text tower")
    try:
        with unasked(name):
            config = AutoConfig.from_pretrained(admitted.place, trust_remote_code=admitted.trusted)
            if pretrained or (pretrained is None and Path(admitted.place).is_dir()):
                _require_weights(admitted.place)
                backbone = AutoModel.from_pretrained(admitted.place, trust_remote_code=admitted.trusted)
                require_finite(backbone, admitted.place)
            else:
                backbone = _from_config(config, admitted)
                if pretrained is None:
                    _log.warning(RANDOM_WEIGHTS, name)
    except LgdeaError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise loading_error("text tower", name, error, otherwise=NO_DOWNLOAD) from None
    return TextTower(_encoder_only(backbone), name=name, pooling=pooling, code=admitted)


def rebuild_text_tower(description: dict[str, Any]) -> TextTower:
    """The tower that :meth:`TextTower.describe` described, with random weights."""
    settings = {k: v for k, v in description["config"].items() if k not in {"model_type", "transformers_version"}}
    attention = _small_attention() if description["name"] == SMALL_BERT else None
    admitted = readmit(description["own_code"]) if "own_code" in description else None
    if admitted is None:
        config = AutoConfig.for_model(description["model_type"], **settings)
    else:
        config = AutoConfig.from_pretrained(admitted.place, trust_remote_code=admitted.trusted, **settings)
    backbone = _encoder_only(_from_config(config, admitted, attention=attention))
    return TextTower(backbone, name=description["name"], pooling=description["pooling"], code=admitted)


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a Hugging Face name or of a folder that holds one; it always has a padding token.

    Raises:
        UsageError: It cannot be had, or it knows no words.
    """
    admitted = admit(name)
    require_place(admitted.place, "tokenizer")
    try:
        with unasked(name):
            tokenizer: Any = AutoTokenizer.from_pretrained(admitted.place, trust_remote_code=admitted.trusted)
        words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    except UsageError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise loading_error("tokenizer", name, error, otherwise=NO_DOWNLOAD) from None
    if not tokenizer.is_fast:
        problem = "its tokenizer is not one that a file tokenizer.json can hold"
        raise UsageError(problem, file=name, remedy="choose a model with a fast tokenizer")
    if not words:  # transformers makes an empty tokenizer of a folder that has a config.json and no tokenizer
        problem = "holds no tokenizer: its vocabulary is empty"
        raise UsageError(
            problem, file=name, remedy="copy tokenizer.json, or vocab.txt and the like, from where it is from"
        )
    return _completed(tokenizer)


def stored_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder, of its tokenizer.json and no class of transformers' own.

    Versions of transformers call the class in tokenizer_config.json by other names, which older ones do not know, and
    some classes build the tokenizer anew from its vocabulary.
    """
    load: Any = PreTrainedTokenizerFast
    return _completed(load.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False))


def _completed(tokenizer: Any) -> PreTrainedTokenizerFast:
    """Give it what models rely on: a padding token, and a limit of tokens."""
    if tokenizer.pad_token is None:  # most decoders have none
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.model_max_length > 10**6:  # "unknown" in transformers
        tokenizer.model_max_length = MAX_TOKENS
    fast: PreTrainedTokenizerFast = tokenizer
    return fast


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4000, min_frequency: int = 1) -> PreTrainedTokenizerFast:
    """Train a lower-casing WordPiece tokenizer on ``texts``; the same texts give the same tokenizer, in any order.

    Words start with a mark instead of inner pieces having one: with BERT's ``##`` the trainer numbers inner pieces
    as its hash map yields them, and no two trainings agree.

    Args:
        texts: The corpus: reports of the training split, and the canonical phrases.
        vocab_size: Most entries, special tokens included.
        min_frequency: How often a pair must occur to be merged.

    Raises:
        DataError: There is no text to learn from.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError("no text to train a tokenizer on", remedy="check that the archive has reports")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        continuing_subword_prefix="",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MAX_TOKENS,
    )


def _from_config(config: Any, admitted: Admitted | None, *, attention: str | None = None) -> nn.Module:
    options = {} if attention is None else {"attn_implementation": attention}
    admitted = admitted or Admitted("", "")
    model: nn.Module = AutoModel.from_config(config, trust_remote_code=admitted.trusted, **options)  # type: ignore[no-untyped-call]
    return model


def _require_weights(place: str) -> None:
    if Path(place).is_dir() and not any((Path(place) / file).is_file() for file in WEIGHT_FILES):
        raise UsageError(
            "the folder of the text tower holds no weights",
            file=place,
            remedy=f"copy {SAFE_WEIGHTS_NAME} into it, or set text.pretrained: false to start from random ones",
        )


def _small_attention() -> str:
    """Choose how ``small-bert`` computes attention.

    PyTorch's fused attention with a mask has a slow backward pass on the CPU: at this size it took a third of the
    training step of a whole model, where the plain formula takes a tenth.
    """
    return "sdpa" if torch.cuda.is_available() else "eager"


def _encoder_only(backbone: Any) -> Any:
    """Of a sequence-to-sequence model only the encoder reads."""
    return backbone.get_encoder() if getattr(backbone.config, "is_encoder_decoder", False) else backbone


def _pooling_of(config: Any) -> Literal["mean", "last"]:
    decoder = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    return "last" if decoder else "mean"
