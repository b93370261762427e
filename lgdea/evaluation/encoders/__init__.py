"""Models to evaluate: lgdea's own and those of timm, Hugging Face, open_clip and hi-ml, by name."""
