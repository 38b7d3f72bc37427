"""What `olm` is made of."""
