"""Reading by comparison: retrieval with respect to one entity, interval change, healthy references, question sets."""
