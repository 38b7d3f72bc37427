"""What `abri` is made of."""
