"""LiteFlowNet, its parts, and its weights. The only part of the core that imports torch."""
