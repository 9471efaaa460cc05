"""What every gallery has in common: entries, filters, times, places and ranking."""
