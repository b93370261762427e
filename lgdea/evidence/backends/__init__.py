"""Who extracts: the rule engine, a language model, or recorded responses."""
