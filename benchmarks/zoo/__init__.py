"""The leaderboard: every method on the same images, its frozen features read alike."""
