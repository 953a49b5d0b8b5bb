"""The inbox in a PostgreSQL database. It needs the extra `postgres`; nothing else imports psycopg."""
