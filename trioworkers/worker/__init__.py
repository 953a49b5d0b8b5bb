"""What runs inside a bot's process. Nothing here imports what only the daemon needs."""
