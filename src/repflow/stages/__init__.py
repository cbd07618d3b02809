"""One module per stage of the graph: the only code that reads parameters and touches stage files."""
