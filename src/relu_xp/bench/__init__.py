"""Measures the backends of this machine beside a copy and beside what people use instead."""
