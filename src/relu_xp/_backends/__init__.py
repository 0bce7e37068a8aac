"""One file a backend, the only place where a framework is imported.

Each has `owns(x)`; the six functions, whose arguments come in the order of the public ones, all given; and, for the
demo, the verifier and the tests, `devices()`, `put(array, device)` and `get(x)`: where it runs on this machine, and
how a NumPy array gets there and back. They know neither each other nor the dispatcher.
"""
