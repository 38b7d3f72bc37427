"""What a training iterates: batches, the share of a rank, numbered examples."""
