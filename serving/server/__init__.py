"""A real tritonserver: found or installed, started, watched and stopped."""
