"""Which version this is; in a module of its own, for what must not import the package's public names."""

__version__ = "0.1.0"
