"""Training remedies that act on what the probes of `imbalance_lens` report."""

# torchtune installs a `recipes` too; `imbalance_lens.shadow` tells ours by the next line.
__distribution__ = "imbalance-lens"
