"""What a CPU needs to run verl, and stand-ins; loaded in every verl process by `plugin`."""
