"""What is made of a ranking: lists, downloads, tracks, maps and charts."""
