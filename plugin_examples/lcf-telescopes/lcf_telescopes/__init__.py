"""Header parsers of nine telescopes for lcframework, one module each."""
