"""The fit of PSFs with STARRED's objective."""
