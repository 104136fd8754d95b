"""RAVDESS: faces and voices of 24 actors."""
