"""The search of the stage `tune`: its space, its deterministic study, and the processes that run its trials."""
