"""Fine-tuning on RF frames without labels, and the acceptance of what comes out of it."""
