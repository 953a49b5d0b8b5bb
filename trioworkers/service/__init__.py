"""The daemon as a service of systemd: what it reports there, and the unit that runs it."""
