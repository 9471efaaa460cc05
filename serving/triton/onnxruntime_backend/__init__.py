"""A Triton backend named onnxruntime in Python, for servers that come without the C++ one."""
