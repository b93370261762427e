"""Stand-alone scripts that run other libraries in environments of their own; none of them imports lgdea."""
