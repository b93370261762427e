"""Archives: schema, Parquet tables, patient split, pairing, dataset adapters."""
