"""Nearest neighbours, diffusion of links, the PyG graph of an archive."""
