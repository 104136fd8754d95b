"""CREMA-D: faces and voices of 91 actors."""
