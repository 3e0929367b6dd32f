"""Training: generated pairs, losses, pre-training. Knows nothing of export or runtime."""
