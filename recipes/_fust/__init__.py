"""What `fust` is made of."""
