"""The tests of the plugins that ``lcf plugins new`` writes."""
