"""Devices, mixed precision, and the ranks of a run."""
