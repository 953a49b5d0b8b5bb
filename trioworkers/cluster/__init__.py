"""Several daemons that run one fleet on one database: what one of them knows of the others, and does."""
