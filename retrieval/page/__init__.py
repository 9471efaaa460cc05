"""The search page: layout, events and what they show."""
