"""Runs with changed parameters, each in its own git worktree and on its own branch, isolated from the checkout."""
