"""The demo's bots, written as bots are: a module each, with a coroutine that handles one update."""
