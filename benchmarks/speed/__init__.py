"""What `benchmarks/throughput.py` measures: one section, one module."""
