"""Source extractors, a module each."""
