"""What several plugins share that is no numerics: tables, headers, checks of options."""
