"""Sky models, a module each."""
