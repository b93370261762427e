"""Results on disk, their definitions and identity, and how two of them differ."""
