"""The HTTP side of the daemon: the API, and the same routes on the control socket."""
