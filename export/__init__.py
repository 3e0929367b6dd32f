"""Export: the graph, precisions, ONNX, plans, bundles. Knows nothing of training."""
