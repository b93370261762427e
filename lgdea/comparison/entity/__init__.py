"""Retrieval with respect to one entity: entities, graded agreement, conditioned embeddings and their training."""
