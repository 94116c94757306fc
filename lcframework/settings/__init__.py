"""Settings that frames decide: what rules are shown, what they decided, and the tools with these decisions."""
