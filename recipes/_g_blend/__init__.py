"""What `g_blend` is made of."""
