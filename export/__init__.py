"""Export: the graph, ONNX, bundles. Knows nothing of training or runtime."""
