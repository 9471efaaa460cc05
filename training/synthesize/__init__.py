"""Procedural vehicles, streets and cameras: a data set in VeRi layout from nothing but a seed."""
