"""Training remedies that act on what the probes of `imbalance_lens` report."""
