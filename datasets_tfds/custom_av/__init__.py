"""Anyone's own recordings: faces and voices."""
