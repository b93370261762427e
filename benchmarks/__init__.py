"""Side by side with peers: speed and quality measured in one run."""
