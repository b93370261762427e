"""One file per dataset: source files in, archive tables out."""
