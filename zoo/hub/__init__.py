"""Files that others publish: where they are, how they are fetched, where they are kept."""
