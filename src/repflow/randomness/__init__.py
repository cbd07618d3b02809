"""Random numbers: every draw is a function of (seed, stream, step)."""
