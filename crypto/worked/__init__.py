"""Questions that ``carry calc`` answers, with their working."""
