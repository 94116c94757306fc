"""Rules for settings that frames decide."""
