"""The stages of the pipeline, one module each: the only code that reads parameters and stage files."""
