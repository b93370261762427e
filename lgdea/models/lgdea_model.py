"""The model: an image and a text tower, lesion queries and prototypes, meeting in one evidence space.

Shapes: B batch, P patches, L lesion queries, K prototypes, U evidence units, T tokens, D shared dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from lgdea.errors import ConfigError
from lgdea.models import inference
from lgdea.models.freezing import keep_frozen
from lgdea.models.heads import LesionQueries, Projection, Prototypes, cosine, smooth_max
from lgdea.models.hub import ModelPlace, find_model, push_folder
from lgdea.models.model_folder import read_folder, write_card, write_folder
from lgdea.models.retrieval_head import RetrievalHead
from lgdea.models.text_tower import MAX_TOKENS
from lgdea.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lgdea.imaging.transforms import Preprocess

Scoring = Literal["presence", "global", "local"]
MAX_LOGIT_SCALE = 100.0
SMOOTH_MAX_SHARPNESS = 20.0


class LgdeaModel(nn.Module):
    """Image-text model on diagnostic evidence (METHOD.md sections 1 and 2).

    Args:
        image_tower: Gives ``pooled`` and ``patches``; see ``build_image_tower``.
        text_tower: Gives ``pooled`` and ``tokens``; see ``build_text_tower``.
        tokenizer: What the text tower's ids mean.
        preprocess: How a source image becomes a model input; needed by the methods that take images by path.
        dim: D.
        lesion_queries: L.
        prototypes: K.
        heads: Heads of the lesion queries' attention.
        lesion_temperature: tau_p of the image histogram.
        scoring: How a phrase is scored: ``presence`` (patches and lesions), ``global`` (pooled cosine) or ``local``
            (the mean of pooled cosine and the similarity of patches and words, as GLoRIA does).
        max_tokens: Longer texts are cut; long enough for almost every report.
        findings: Vocabulary ids that training has shown the model, which :meth:`evidence` asks for; empty = all of
            the vocabulary's X-ray findings.
    """

    def __init__(
        self,
        image_tower: nn.Module,
        text_tower: nn.Module,
        tokenizer: PreTrainedTokenizerFast,
        *,
        preprocess: Preprocess | None = None,
        dim: int = 128,
        lesion_queries: int = 8,
        prototypes: int = 64,
        heads: int = 4,
        lesion_temperature: float = 0.1,
        scoring: Scoring = "presence",
        max_tokens: int = MAX_TOKENS,
        findings: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if scoring not in get_args(Scoring):
            raise ConfigError(f"no such scoring {scoring!r}", remedy=f"choose one of {', '.join(get_args(Scoring))}")
        self.image_tower: Any = image_tower
        self.text_tower: Any = text_tower
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.settings = {
            "dim": dim,
            "lesion_queries": lesion_queries,
            "prototypes": prototypes,
            "heads": heads,
            "lesion_temperature": lesion_temperature,
            "scoring": scoring,
            "max_tokens": max_tokens,
            "findings": list(findings),
        }
        self.dim = dim
        self.lesion_temperature = lesion_temperature
        self.name = "unsaved"
        """Name of the model in results; loading sets it to the folder's name, or to ``ORG/NAME@COMMIT`` of the Hub."""
        self.card_fields: dict[str, Any] = {}
        """Sections of its model card."""
        self.scoring = scoring
        self.findings = tuple(findings)
        self.vocabulary = load_vocabulary()
        """What its findings are: the vocabulary in use where it was made, with a site's lexicon if there was one."""
        self.max_tokens = min(max_tokens, tokenizer.model_max_length)
        width, text_width = int(image_tower.dim), int(text_tower.dim)  # type: ignore[arg-type]
        self.lesion_queries = LesionQueries(width, lesion_queries, heads)
        self.project_pooled = Projection(width, dim)
        self.project_patches = Projection(width, dim)
        self.project_lesions = Projection(width, dim)
        self.project_report = Projection(text_width, dim)
        self.project_tokens = Projection(text_width, dim)
        self.project_evidence = Projection(text_width, dim)
        self.prototypes = Prototypes(prototypes, dim)
        self.retrieval_head = RetrievalHead(dim, len(findings))
        self.log_presence_scale = nn.Parameter(torch.tensor(10.0).log())
        # Most findings are not in most images: start from that.
        self.presence_bias = nn.Parameter(torch.tensor(-2.0))
        self.log_global_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def train(self, mode: bool = True) -> LgdeaModel:
        """Set the mode; what is frozen stays in evaluation mode (:mod:`lgdea.models.freezing`)."""
        super().train(mode)
        keep_frozen(self.image_tower)
        keep_frozen(self.text_tower)
        return self

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        rows, columns = self.image_tower.grid
        return int(rows), int(columns)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        device: torch.device = self.presence_bias.device
        return device

    @property
    def global_logit_scale(self) -> Tensor:
        """Learned inverse temperature of the global contrastive loss, at most 100 (CLIP's bound)."""
        return self.log_global_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    @property
    def presence_scale(self) -> Tensor:
        """Learned scale of :meth:`presence_logits` and :meth:`pooled_logits`, at most 100."""
        return self.log_presence_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def forward_image(self, images: Tensor) -> dict[str, Tensor]:
        """Encode preprocessed images.

        Shapes:
            images (B, 1, H, W); pooled (B, D), patches (B, P, D), lesions (B, L, D), all unit length and float32;
            attention (B, L, P), rows sum to 1; presence (B, L) in (0, 1).
        """
        return self.forward_features(self.image_tower(images))

    def forward_features(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """:meth:`forward_image` from the image tower's ``pooled`` (B, C) and ``patches`` (B, P, C)."""
        found = self.lesion_queries(features["patches"])
        return {
            "pooled": self.project_pooled(features["pooled"]),
            "patches": self.project_patches(features["patches"]),
            "lesions": self.project_lesions(found["lesions"]),
            "attention": found["attention"],
            "presence": found["presence"],
        }

    def forward_text(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Encode reports: ``pooled`` is the global report embedding.

        Shapes:
            input_ids, attention_mask (B, T); pooled (B, D), tokens (B, T, D), unit length and float32. Of a frozen
            tower's cached outputs (B, C) in the place of ids there are no tokens.
        """
        features = self.text_tower(input_ids, attention_mask)
        result = {"pooled": self.project_report(features["pooled"])}
        if "tokens" in features:
            result["tokens"] = self.project_tokens(features["tokens"])
        return result

    def forward_evidence(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode tokenised phrases into the evidence space, (U, T) -> (U, D), unit length and float32."""
        z: Tensor = self.project_evidence(self.text_tower(input_ids, attention_mask)["pooled"])
        return z

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``input_ids`` and ``attention_mask`` (B, T) on the model's device, cut to ``max_tokens`` and padded."""
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return {key: batch[key].to(self.device) for key in ("input_ids", "attention_mask")}

    def embed_phrases(self, phrases: Sequence[str]) -> Tensor:
        """The evidence embedding z_n of each canonical phrase, with gradient.

        Shapes:
            result (U, D), unit length and float32.
        """
        if not phrases:
            return torch.zeros(0, self.dim, device=self.device)
        return self.forward_evidence(**self.tokenize(phrases))

    def image_histogram(self, image_out: dict[str, Tensor]) -> Tensor:
        """Q_I (equations 6 and 7): the lesions' prototype assignments, averaged by how present each lesion is.

        Shapes:
            lesions (B, L, D) and presence (B, L) of :meth:`forward_image`; result (B, K), rows sum to 1.
        """
        assignment = self.prototypes.assign(image_out["lesions"], self.lesion_temperature)
        presence = image_out["presence"].float().clamp(min=1e-6)
        weight = presence / presence.sum(dim=1, keepdim=True)
        return (weight[..., None] * assignment).sum(dim=1)

    def presence_logits(self, image_out: dict[str, Tensor], z: Tensor) -> Tensor:
        """Logits that each image shows each piece of evidence: scale * smooth-max cos(patch or lesion, z) + bias.

        The maximum is taken over the patches and over the lesions, and the two are averaged: over both at once, the
        lesions alone could satisfy the loss and the patches would not learn where things are.

        Shapes:
            patches (B, P, D) and lesions (B, L, D) of :meth:`forward_image`; z (U, D); result (B, U).
        """
        patches, lesions = (
            smooth_max(cosine(image_out[key], z).transpose(1, 2), SMOOTH_MAX_SHARPNESS)
            for key in ("patches", "lesions")
        )
        return self.presence_scale * (patches + lesions) / 2 + self.presence_bias

    def pooled_logits(self, pooled: Tensor, z: Tensor) -> Tensor:
        """Logits that an item's pooled embedding expresses each piece of evidence: scale * cos(pooled, z) + bias.

        Scale and bias are those of :meth:`presence_logits`, in training as at inference.

        Shapes:
            pooled (B, D) of an image or a report; z (U, D); result (B, U).
        """
        return self.presence_scale * cosine(pooled, z) + self.presence_bias

    def image_logits(self, image_out: dict[str, Tensor], z: Tensor) -> Tensor:
        """Evidence logits of whole images: the mean of :meth:`presence_logits` and those of the pooled embedding.

        Shapes:
            the result of :meth:`forward_image`; z (U, D); result (B, U).
        """
        return (self.presence_logits(image_out, z) + self.pooled_logits(image_out["pooled"], z)) / 2

    def report_logits(self, text_out: dict[str, Tensor], z: Tensor) -> Tensor:
        """Evidence logits of reports, the result of :meth:`forward_text` and z (U, D) -> (B, U)."""
        return self.pooled_logits(text_out["pooled"], z)

    @property
    def embedding_dim(self) -> int:
        """Length of :meth:`embed_images` and :meth:`embed_reports`."""
        return self.dim if self.scoring != "presence" else self.retrieval_head.dim

    def embed_images(self, image_out: dict[str, Tensor]) -> Tensor:
        """Retrieval embeddings of images: the pooled embedding, with ``presence`` scoring joined with the image's
        evidence (:class:`lgdea.models.retrieval_head.RetrievalHead`).

        Shapes:
            the result of :meth:`forward_image`; result (B, E = ``embedding_dim``), unit length.
        """
        if self.scoring != "presence":
            return image_out["pooled"]
        return self.retrieval_head.images(
            image_out["pooled"], self.image_logits(image_out, self.retrieval_head.phrases)
        )

    def embed_reports(self, text_out: dict[str, Tensor]) -> Tensor:
        """Retrieval embeddings of reports, of the result of :meth:`forward_text`; as :meth:`embed_images`."""
        if self.scoring != "presence":
            return text_out["pooled"]
        return self.retrieval_head.reports(
            text_out["pooled"], self.report_logits(text_out, self.retrieval_head.phrases)
        )

    def score_phrases(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """Scores of phrases in preprocessed images, without gradient; higher = more likely present.

        ``presence`` scoring gives probabilities, the others similarities in [-1, 1].

        Shapes:
            images (B, 1, H, W); result (B, U).
        """
        return inference.score_phrases(self, images, phrases)

    def phrase_maps(self, images: Tensor, phrases: Sequence[str]) -> Tensor:
        """How much each patch of preprocessed images looks like each phrase, without gradient.

        With ``presence`` scoring the product of the phrase with what sets the patch apart from a typical one, in units
        of what usually does (:meth:`lgdea.models.retrieval_head.RetrievalHead.patches`); otherwise their cosine.

        Shapes:
            images (B, 1, H, W); result (B, U, h, w) on the patch grid of the model's frame.
        """
        return inference.phrase_maps(self, images, phrases)

    def encode_image(self, images: inference.ImageInput | Sequence[inference.ImageInput]) -> np.ndarray:
        """Embeddings (N, E) of a path, PIL image, array, or a list of them; see :meth:`embed_images`."""
        return inference.encode_image(self, images)

    def encode_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Report embeddings (N, E) of one text or a list; see :meth:`embed_reports`."""
        return inference.encode_text(self, texts)

    def heat_map(self, image: inference.ImageInput, phrase: str) -> np.ndarray:
        """How much each place of ``image`` looks like ``phrase``: (H, W) in SOURCE pixels, NaN outside the crop.

        :func:`lgdea.show_heat_map` draws it over the image.
        """
        return inference.heat_map(self, image, phrase)

    def evidence(self, image: inference.ImageInput, top: int = 10) -> list[dict[str, Any]]:
        """The ``top`` most probable findings of ``image``; see :func:`lgdea.models.inference.evidence`."""
        return inference.evidence(self, image, top)

    def save_pretrained(self, folder: str | Path, card_fields: Mapping[str, Any] | None = None) -> Path:
        """Save the model as a folder; see :func:`lgdea.save_model`."""
        return write_folder(self, Path(folder), {**self.card_fields, **(card_fields or {})})

    @classmethod
    def from_pretrained(cls, model: str | Path, *, revision: str | None = None, device: str = "cpu") -> LgdeaModel:
        """Load a model from a folder or from the Hugging Face Hub; see :func:`lgdea.load_model`."""
        return read_folder(cls, find_model(model, revision=revision), device)

    def push_to_hub(
        self,
        repo: str,
        *,
        license: str,
        private: bool = True,
        revision: str | None = None,
        message: str | None = None,
        token: str | None = None,
    ) -> ModelPlace:
        """Push the model to the Hugging Face Hub; `lgdea model push` pushes a folder with the card that it has.

        Args:
            repo: ``ORG/NAME``; made if needed.
            license: Identifier of the Hub's list (``apache-2.0``, ``cc-by-nc-4.0``), or ``other``.
            private: Make a new repository private.
            revision: Branch, made if needed.
            message: Message of the commit.
            token: Access token; by default that of ``hf auth login`` or ``HF_TOKEN``.

        Returns:
            Repository and commit, which :func:`lgdea.load_model` takes as ``revision``.
        """
        with TemporaryDirectory() as folder:
            write_card(self.save_pretrained(Path(folder) / "model"), license=license)
            options: dict[str, Any] = {"private": private, "revision": revision, "message": message, "token": token}
            return push_folder(Path(folder) / "model", repo, **options)
