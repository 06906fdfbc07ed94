"""How much accuracy int8 costs: layer by layer, stage by stage, and from one calibration set to the next."""
