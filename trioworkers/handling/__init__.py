"""One handling of an update: what a handler sees, which calls it makes, and what its end means."""
