"""Vehicle re-identification models: registry, cards, weights, label names and the one image preprocessing."""
