"""Many runs from one config: the demo, and what compares them."""
