"""The backends, one file each: only they import a framework.

Each is a `relu_xp.backends.Backend`, or `Delegating` if its arrays hold others. They know neither
each other nor the dispatcher.
"""
