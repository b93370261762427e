"""De-identification of report text: likely identifiers are found and masked."""
