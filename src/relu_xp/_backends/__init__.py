"""One file a backend, the only place where a framework is imported.

Each is a `relu_xp._dispatch.Backend`, or `Delegating` where its arrays hold others. They know
neither each other nor the dispatcher.
"""
