"""Quantization: the list of recipes (`recipes`), one module a recipe, and the proof of what runs in int8 (`proof`)."""
