"""How good embeddings and attributes are: protocol, metrics, re-ranking, calibration."""
