"""The gallery beside other stores of vectors: `python -m benchmarks.peers`."""
