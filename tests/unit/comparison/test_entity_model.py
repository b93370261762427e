"""The entity head: shapes, what an embedding depends on, gradient and saving."""

from __future__ import annotations

import pytest
import torch

import lgdea
from lgdea.comparison.entity.model import CrossAttention, EntityModel, similarity
from lgdea.comparison.entity.reranker import EvidenceReader, PairReranker, Side
from lgdea.comparison.heads import fill_head, read_head, save_head
from lgdea.errors import ConfigError, DataError, UsageError

TEXTS = ["left pleural effusion", "cardiomegaly"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    base = lgdea.create_model("test_resnet", texts=TEXTS, image_size=64, hidden=32, dim=16, prototypes=4)
    return EntityModel.create(base, width=32, length=24, evidence=2).eval()


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
    total = out.embedding.sum() + out.presence.sum() + model.head.unconditioned(features).sum()
    (total + model.head.phrase_logits(out.embedding[:, 0], z).sum()).backward()
    assert all(p.grad is None for p in model.base.parameters())
    assert [name for name, p in model.head.named_parameters() if p.grad is None] == []


def test_the_reader_tells_the_same_patch_in_another_place_apart():
    reader = EvidenceReader(2, 4, (6, 4), 3)
    patches = torch.zeros(2, 24, 2)
    patches[0, 0, 0] = patches[1, 23, 0] = 1.0  # the same thing, above left and below right
    pooled = reader.pool(patches)
    assert pooled.shape == (2, 48)
    assert not torch.equal(pooled[0], pooled[1])
    assert torch.equal(pooled[0].sort().values, pooled[1].sort().values)
    wide = EvidenceReader(2, 4, (30, 24), 3)  # more patches than cells: means of those in a cell
    torch.testing.assert_close(wide.pool(torch.ones(1, 720, 2)), torch.ones(1, 288))
    reader.base_rate.fill_(0.1)
    reader.weight[:, 1] = 0.4
    shown = reader(patches)
    torch.testing.assert_close(shown[:, 0], torch.zeros(2))  # what nothing speaks for has its base rate
    torch.testing.assert_close(shown[:, 1], torch.full((2,), 0.5).logit() - torch.full((2,), 0.1).logit())


def test_an_entity_attends_to_the_evidence_that_means_the_same():
    reader = EvidenceReader(2, 4, (3, 3), 4)
    reader.phrases.copy_(torch.eye(4))
    attention = reader.attend(torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]))
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2))
    assert float(attention[0, 1]) > 0.99
    torch.testing.assert_close(attention[1, 2:], torch.full((2,), 0.5), atol=0.01, rtol=0)
    assert EvidenceReader(2, 4, (3, 3), 0).attend(torch.ones(2, 4)).shape == (2, 0)


def test_the_reranker_prefers_what_shows_the_entity_and_agrees_with_the_query():
    reranker = PairReranker(2, 4, (3, 3), 3)
    embedding = torch.nn.functional.normalize(torch.ones(3, 5), dim=-1)
    evidence = torch.tensor([[2.0, 2.0, 9.0], [2.0, -2.0, 0.0], [-2.0, -2.0, 0.0]])
    query = Side(embedding, torch.tensor([2.0, 2.0, 0.0]).expand(3, 3), torch.zeros(3))
    candidate = Side(embedding, evidence, torch.tensor([0.0, 1.0, 2.0]))
    attention = torch.tensor([0.5, 0.5, 0.0])
    alike = similarity(embedding[:1], embedding, candidate.presence)[0].logit()
    torch.testing.assert_close(reranker(query, candidate, attention), alike)  # unfitted: the similarity
    reranker.weights.copy_(torch.tensor([0.0, 0.5, 0.25, -1.0]))
    found = reranker(query, candidate, attention)
    torch.testing.assert_close(found, torch.tensor([1.0 + 1.0 - 1.0, -1.0, -1.0 - 1.0 - 1.0]))


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
    weights, read = model.head.state_dict(), other.head.state_dict()
    assert all(torch.equal(weights[name], read[name]) for name in weights)
    (folder / "entity_head.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read"):
        fill_head(folder, "entity", other.head)
