"""Question sets about pairs of images: one patient over time, or two patients; balanced, with their baselines."""
