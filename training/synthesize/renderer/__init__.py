"""Triangles to the bytes of a picture."""
