"""What one card does: `python -m benchmarks.gpu`."""
