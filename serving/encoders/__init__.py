"""Images in, embeddings and attribute probabilities out."""
