"""The bundled training loop and what belongs to it: data, plan, books, checkpoints."""
