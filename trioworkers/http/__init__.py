"""One HTTP/1.1 client layer: connections to one server, and the exchanges on them."""
