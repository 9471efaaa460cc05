"""What `training.doctor` looks at: a machine, its cards, and the clocks of several machines."""
