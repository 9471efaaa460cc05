"""Records to batches: decoding, augmentation, pose maps, sampling."""
