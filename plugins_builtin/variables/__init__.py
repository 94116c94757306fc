"""Catalogues of variable stars, a module each."""
