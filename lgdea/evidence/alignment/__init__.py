"""From a quote to its offsets in the raw report."""
