"""Recipes in the training loops of other libraries; each file needs the library of its name.

A loop of one's own, with or without Accelerate, needs no adapter: see `recipes.attach`.
"""
