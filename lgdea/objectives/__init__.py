"""Pure loss functions and the baselines: tensors in, ``(total, parts)`` out."""
