"""`trioworkers demo`: the real daemon and real workers, between a simulated Telegram and simulated people."""
