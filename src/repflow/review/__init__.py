"""What a reviewer asks of two revisions: which figures moved, whether that is more than noise, and what was changed."""
