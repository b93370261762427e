"""Reading a report by rules: vocabulary matching with assertion scopes (after NegEx and ConText) and attachment."""
