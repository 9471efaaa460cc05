"""A training: recipe, model and optimiser, steps, epochs, checkpoints."""
