"""Every equation of the library as a function of tensors: torch and the standard library only."""
