"""The control plane: what people and tools ask of a running proxy."""
