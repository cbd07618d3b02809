"""Runs with changed parameters, each in a git worktree and on a branch of its own, beside the user's checkout."""
