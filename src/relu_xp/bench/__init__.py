"""Measures every backend of this machine, against the hardware's limit and against what people use instead."""
