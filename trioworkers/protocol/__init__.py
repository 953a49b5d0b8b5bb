"""What the daemon says to a worker or a zygote, and what these say to it."""
