"""Runs of a project as its frames arrive: which files are whole, what a batch does, when to look and when to stop."""
