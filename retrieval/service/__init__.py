"""The REST interface, and what guards and measures it."""
