"""Image tower (timm), text tower (transformers), lesion queries, prototypes, saving and loading."""
