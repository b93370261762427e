"""The front door for Python: what ``import lgdea`` offers and the command line calls."""
