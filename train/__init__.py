"""Training: pre-training on generated pairs, fine-tuning on recordings, and what they share."""
