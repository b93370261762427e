"""The change model: for an entity and two studies, the state of the entity in the current one.

Exchanging prior and current exchanges new with resolved and worse with better, exactly and for any weights: one network
looks at an ordered pair of studies, both orders go through it, and each state takes its score from the order in which
it is "more". Shapes: B pairs, E entities, P patches, L lesions, T = P + L tokens, C width of the image tower, D shared
dimension, H width of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgdea.errors import ConfigError
from lgdea.models.inference import inferring
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.vocabulary.phrases import canonical_phrase

OUTPUTS = 6
"""new, worse, stable, better, resolved, and absent from both."""


class StudyTokens(NamedTuple):
    """An image as the change model sees it."""

    tokens: Tensor
    """(B, T, C) patches, then lesions, of the image tower."""
    shared: Tensor
    """(B, T, D) the same in the evidence space, unit length."""


def study_tokens(model: LgdeaModel, images: Tensor) -> StudyTokens:
    """Encode preprocessed images (B, 1, H, W) into patches and lesions."""
    patches = model.image_tower(images)["patches"]
    lesions = model.lesion_queries(patches)["lesions"]
    shared = torch.cat([model.project_patches(patches), model.project_lesions(lesions)], dim=1)
    return StudyTokens(torch.cat([patches, lesions], dim=1), shared)


class ChangeHead(nn.Module):
    """Compares two studies with respect to entities.

    The entity's embedding attends to patches and lesions of each study (what is there, how much of it), what it found
    in one study attends to the other one (what became of it), and a small network weighs both findings, their
    difference and the difference of the amounts.

    Args:
        source: C.
        dim: D.
        width: H.
        heads: Attention heads; must divide ``width``.
        dropout: Dropout probability.
    """

    def __init__(self, source: int, dim: int, *, width: int = 128, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"the head's width {width} is not divisible by {heads} heads", remedy="change model.width"
            )
        self.settings: dict[str, Any] = {"width": width, "heads": heads, "dropout": dropout}
        self.heads = heads
        self.embed_tokens = nn.Sequential(nn.LayerNorm(source), nn.Linear(source, width))
        self.embed_entity = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.looks = Look(width, heads)
        self.follows = Look(width, heads)
        amounts = 3 * heads + 3
        self.embed_amounts = nn.Linear(3 * amounts, width)
        self.compare = nn.Sequential(
            nn.LayerNorm(7 * width), nn.Linear(7 * width, 2 * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 4),
        )  # fmt: skip

    def forward(self, prior: StudyTokens, current: StudyTokens, entities: Tensor) -> Tensor:
        """Logits of the states.

        Shapes:
            entities (E, D), or (B, E, D) when each pair has its own, unit length; result (B, E, 6): new, worse,
            stable, better, resolved, absent from both.
        """
        entities = entities.expand(len(prior.tokens), -1, -1)
        query = self.embed_entity(entities)
        before, now = self._see(prior, entities, query), self._see(current, entities, query)
        forwards, backwards = self._order(now, before, query), self._order(before, now, query)
        appears, grows, stays, absent = forwards.unbind(-1)
        vanishes, shrinks, stayed, nothing = backwards.unbind(-1)
        return torch.stack([appears, grows, stays + stayed, shrinks, vanishes, absent + nothing], dim=-1).float()

    def attention(self, study: StudyTokens, entities: Tensor) -> Tensor:
        """Where each entity is looked for, (B, E, T), rows sum to 1."""
        tokens = self.embed_tokens(study.tokens)
        return self.looks(self.embed_entity(entities).expand(len(tokens), -1, -1), tokens)[1]

    def _see(self, study: StudyTokens, entities: Tensor, query: Tensor) -> _Seen:
        tokens = self.embed_tokens(study.tokens)
        found, _, scores = self.looks(query, tokens)
        similar = entities.float() @ study.shared.float().transpose(1, 2)  # cosines (B, E, T)
        return _Seen(tokens, found, torch.cat([_amounts(scores), _amounts(10 * similar[:, None])], dim=-1))

    def _order(self, more: _Seen, less: _Seen, query: Tensor) -> Tensor:
        """Four scores (B, E, 4) of the ordered pair: in the first alone, more in it, as much, in neither."""
        after, _, _ = self.follows(more.found, less.tokens)
        before, _, _ = self.follows(less.found, more.tokens)
        amounts = self.embed_amounts(torch.cat([more.amounts, less.amounts, more.amounts - less.amounts], dim=-1))
        parts = [query, more.found, less.found, more.found - less.found, after - more.found, before - less.found]
        return self.compare(torch.cat([*parts, amounts], dim=-1))


class _Seen(NamedTuple):
    tokens: Tensor
    found: Tensor
    amounts: Tensor


class Look(nn.Module):
    """Multi-head attention of queries to tokens, with the scores themselves.

    Args:
        width: H.
        heads: Must divide ``width``.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_query, self.to_key = nn.Linear(width, width), nn.Linear(width, width)
        self.to_value, self.to_out = nn.Linear(width, width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look.

        Shapes:
            queries (B, E, H); tokens (B, T, H); result (B, E, H), attention (B, E, T) averaged over the heads, and
            scores (B, heads, E, T).
        """
        tokens = self.norm_tokens(tokens)
        query, key = self._split(self.to_query(self.norm(queries))), self._split(self.to_key(tokens))
        scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        weights = scores.softmax(dim=-1)
        found = (weights.to(tokens.dtype) @ self._split(self.to_value(tokens))).transpose(1, 2).flatten(2)
        result = queries + self.to_out(found)
        return result + self.feed_forward(result), weights.mean(dim=1), scores

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)


def _amounts(scores: Tensor) -> Tensor:
    """How much of an entity there is: peak, mean and extent of its scores, (B, h, E, T) -> (B, E, 3h).

    A softmax forgets them: attention is the same for a small and for a large lesion.
    """
    peak = torch.logsumexp(scores, dim=-1)
    parts = torch.stack([peak, scores.mean(dim=-1), F.softplus(scores).mean(dim=-1)], dim=-1)  # (B, h, E, 3)
    return parts.permute(0, 2, 1, 3).flatten(2)


class ChangeModel(nn.Module):
    """A pretrained model with a change head: a :class:`~lgdea.comparison.change.protocol.ChangeReader`.

    Args:
        base: The pretrained model.
        head: The head.
    """

    def __init__(self, base: LgdeaModel, head: ChangeHead) -> None:
        super().__init__()
        self.base = base
        self.head = head
        self.findings: tuple[str, ...] = ()
        """Vocabulary ids that training has asked for."""
        self.log_prior: tuple[float, ...] = (0.0,) * 6
        """Logarithms by which the balanced probabilities of the six states become those of an archive as it is."""
        self.name = base.name

    @classmethod
    def create(cls, base: LgdeaModel, **settings: Any) -> ChangeModel:
        """Put an untrained head on a model; ``settings`` are those of :class:`ChangeHead`."""
        return cls(base, ChangeHead(int(base.image_tower.dim), base.dim, **settings))

    def states(self, prior: Tensor, current: Tensor, phrases: Sequence[str]) -> Tensor:
        """Probabilities of the six states, without gradient.

        Shapes:
            prior, current (B, 1, H, W) preprocessed; result (B, E, 6), rows sum to 1; the last: absent from both.
        """
        with inferring(self.base):
            self.head.eval()
            pair = [study_tokens(self.base, images.to(self.base.device)) for images in (prior, current)]
            return self.head(pair[0], pair[1], self.base.embed_phrases(phrases)).softmax(dim=-1)

    def shown(self, states: Tensor) -> Tensor:
        """Probability that one of the two images shows an entity.

        Training balances the states, of which "absent from both" is by far the most frequent, so its share is put back.

        Args:
            states: (..., 6) of :meth:`states`.

        Returns:
            (...), in [0, 1].
        """
        natural = states * states.new_tensor(self.log_prior).exp()
        return 1 - natural[..., 5] / natural.sum(dim=-1).clamp_min(1e-12)

    def read_changes(
        self, prior: Sequence[np.ndarray], current: Sequence[np.ndarray], findings: Sequence[str]
    ) -> np.ndarray:
        """Probabilities (B, F, 5), given that one of the two images shows the finding; see :class:`ChangeReader`."""
        batches = [torch.stack([self._prepare(image) for image in images]) for images in (prior, current)]
        both = self.states(batches[0], batches[1], [canonical_phrase(finding) for finding in findings])[..., :5]
        return np.asarray((both / both.sum(dim=-1, keepdim=True).clamp_min(1e-12)).cpu())

    def maps(self, image: Tensor, phrases: Sequence[str]) -> Tensor:
        """Attention of each phrase over one preprocessed image (1, H, W) as grids (E, h, w), without gradient."""
        rows, columns = self.base.grid
        with inferring(self.base):
            self.head.eval()
            study = study_tokens(self.base, image[None].to(self.base.device))
            looked = self.head.attention(study, self.base.embed_phrases(phrases))[0, :, : rows * columns]
        return looked.reshape(-1, rows, columns)

    def _prepare(self, image: np.ndarray) -> Tensor:
        preprocess: Any = self.base.preprocess
        prepared: Tensor = preprocess(image)[0]
        return prepared
