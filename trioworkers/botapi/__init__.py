"""The Bot API: its client, the parameters of its calls, files and errors."""
