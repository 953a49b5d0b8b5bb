"""The soak: a whole fleet under everything that goes wrong at once, and the reckoning at the end."""
