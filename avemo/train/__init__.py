"""The step, its optimiser and losses, and the loop around them."""
