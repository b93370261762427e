"""What an archive holds: schema, Parquet tables, patient split, pairing, dataset adapters."""
