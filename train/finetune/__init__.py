"""Fine-tuning on RF frames without labels, and the acceptance test of its weights."""
