"""Measuring variants: threads, the machine, interleaved per-image times, peak memory and numbers of proposals."""
