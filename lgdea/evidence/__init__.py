"""Report text in, evidence units out: sections, backends, alignment, checks, runner, scoring."""
