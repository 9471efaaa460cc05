"""What only a GPU shows: `make test-gpu`. GPU_TESTS_ON=cpu takes every path but the card itself."""
