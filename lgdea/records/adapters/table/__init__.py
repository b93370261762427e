"""Any archive that somebody has as a table: one row per image or study, columns named by a mapping or recognised."""
