"""What lies between a film and a model, as files to look at or to work on."""
