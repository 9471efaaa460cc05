"""The Triton model repository, and how a Triton server is asked."""
