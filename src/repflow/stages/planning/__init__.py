"""What a run will cost, before it runs: images, steps, time, memory, disk."""
