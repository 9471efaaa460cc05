"""From a torch model to ONNX files of every precision, each held to the model it came from."""
