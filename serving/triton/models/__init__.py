"""Models of the Triton repository that are Python files; the server runs copies of them."""
