"""From a checkpoint to predictions, metrics and a page to look at."""
