"""Header parsers, a module each."""
