"""A gallery in a folder of this machine: SQLite is the truth, memory and FAISS index are derived from it."""
