"""The rows of `serving.benchmark`, and their report."""
