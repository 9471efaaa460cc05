"""Where images come from: folders, tables, lists, videos."""
