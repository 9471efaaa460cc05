"""One vehicle: its body, paint, parts and keypoints."""
