"""The entity head: shapes, what an embedding depends on, gradient and saving."""

from __future__ import annotations

import pytest
import torch

import lgdea
from lgdea.comparison.entity.model import CrossAttention, EntityModel, Side, similarity
from lgdea.comparison.heads import fill_head, read_head, save_head
from lgdea.errors import ConfigError, DataError, UsageError

TEXTS = ["left pleural effusion", "cardiomegaly"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    base = lgdea.create_model("test_resnet", texts=TEXTS, image_size=64, hidden=32, dim=16, prototypes=4)
    return EntityModel.create(base, width=32, length=24, tokens=3).eval()


@pytest.fixture
def images():
    return torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_every_image_is_seen_with_respect_to_every_entity(model, images):
    z = model.embed_phrases(TEXTS)
    out = model(images, z)
    assert out.embedding.shape == (3, 2, 24)
    assert out.presence.shape == (3, 2)
    torch.testing.assert_close(out.embedding.norm(dim=-1), torch.ones(3, 2))
    torch.testing.assert_close(out.attention.sum(dim=-1), torch.ones(3, 2))
    assert not torch.allclose(out.embedding[:, 0], out.embedding[:, 1], atol=1e-3)
    alone = model(images[:1], z[:1])  # neither other images nor other entities change it
    torch.testing.assert_close(alone.embedding[0, 0], out.embedding[0, 0], atol=1e-5, rtol=1e-5)


def test_attention_starts_where_the_evidence_space_sees_the_entity():
    torch.manual_seed(0)
    layer = CrossAttention(32, 4)
    evidence = torch.zeros(1, 1, 9)
    evidence[0, 0, 5] = 1.0
    _, attention = layer(torch.randn(1, 1, 32), torch.randn(1, 9, 32), evidence)
    assert int(attention[0, 0].argmax()) == 5
    with pytest.raises(ConfigError, match="heads"):
        CrossAttention(30, 4)


def test_only_the_head_learns(model, images):
    model.train()
    assert not model.base.training
    z = model.embed_phrases(TEXTS)
    features = model.features(images, z)
    out = model.head(features, z)
    tokens = model.head.reranker.choose(out)
    sides = (Side(out.embedding[:, i], tokens[:, i], out.presence[:, i]) for i in (0, 1))
    total = model.head.reranker(*sides).sum() + model.head.unconditioned(features).sum()
    (total + model.head.phrase_logits(out.embedding[:, 0], z).sum()).backward()
    assert all(p.grad is None for p in model.base.parameters())
    assert [name for name, p in model.head.named_parameters() if p.grad is None] == []


def test_the_reranker_takes_the_most_attended_tokens(model, images):
    out = model(images, model.embed_phrases(TEXTS))
    tokens = model.head.reranker.choose(out)
    assert tokens.shape == (3, 2, 3, 32)
    best = int(out.attention[1, 0].argmax())
    direction = torch.nn.functional.cosine_similarity(tokens[1, 0, 0], out.values[1, best], dim=0)
    assert float(direction.detach()) == pytest.approx(1.0, abs=1e-5)


def test_similarity_is_a_cosine_of_unit_vectors_and_rises_with_the_presence():
    torch.manual_seed(0)
    u = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    presence = torch.tensor([-3.0, 0.0, 1.0, 5.0])
    p = presence.sigmoid()[:, None]
    query = torch.cat([u, torch.ones(4, 1), torch.zeros(4, 1)], dim=1) / 2**0.5
    candidate = torch.cat([p * u / 2**0.5, p / 2**0.5, (1 - p**2).sqrt()], dim=1)
    torch.testing.assert_close(candidate.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(similarity(u, u, presence), query @ candidate.T)
    same = similarity(u[:1], u[:1].expand(4, -1), presence)[0]
    torch.testing.assert_close(same, presence.sigmoid())  # the most alike there can be


def test_a_base_of_another_kind_of_scoring_is_asked_in_its_own_space(images):
    for scoring in ("global", "local"):
        base = lgdea.create_model("test_resnet", texts=TEXTS, image_size=64, hidden=32, dim=16, scoring=scoring)
        other = EntityModel.create(base, width=32, length=24).eval()
        z = other.embed_phrases(TEXTS)
        torch.testing.assert_close(z, base.forward_text(**base.tokenize(TEXTS))["pooled"])
        features = other.features(images, z)
        assert features.prior.shape == (3, 2)
        assert features.seen.shape == (3, 2, other.features(images, z).patches.shape[1])


def test_a_head_lies_beside_its_model_and_says_when_it_is_missing(model, tmp_path):
    folder = lgdea.save_model(model.base, tmp_path / "model")
    with pytest.raises(UsageError, match="no entity head"):
        read_head(folder, "entity")
    save_head(folder, "entity", model.head, {"settings": model.head.settings})
    assert read_head(folder, "entity")["settings"] == model.head.settings
    other = EntityModel.create(lgdea.load_model(folder), **model.head.settings)
    fill_head(folder, "entity", other.head)
    assert all(torch.equal(a, b) for a, b in zip(model.head.parameters(), other.head.parameters(), strict=True))
    (folder / "entity_head.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read"):
        fill_head(folder, "entity", other.head)
