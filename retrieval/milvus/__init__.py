"""A gallery in Milvus, with the same answers as one in a folder."""
