"""MAFW: faces and voices from films, television and the web."""
