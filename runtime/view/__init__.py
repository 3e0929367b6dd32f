"""The live page: what people see of a strain stream, in a browser."""
