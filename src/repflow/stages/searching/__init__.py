"""The hyperparameter search of the stage `tune`: search space, deterministic study, and processes that run trials."""
