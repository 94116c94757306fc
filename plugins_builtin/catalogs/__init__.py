"""Star catalogues, a module each."""
