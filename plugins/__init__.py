"""Built-in plugins, installed as `trioworkers_plugins` and loaded like anyone's: through entry points."""
