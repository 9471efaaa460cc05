"""Adaptation to unlabelled cameras: statistics, pseudo-labels, fine-tuning, and the guard."""
