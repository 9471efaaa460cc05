"""From a query, by image or in words, to a ranking."""
