"""Serving: export, the Triton repository, a real server for it, and the encoders that ask model or server."""
