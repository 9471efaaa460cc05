"""Encoded images in, embeddings and attribute probabilities out."""
