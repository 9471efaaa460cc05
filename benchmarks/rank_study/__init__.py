"""Do N ranks train as good a model as one, and which part of a recipe makes it so?"""
