"""The architectures: one file each, over the same heads and pose inputs."""
