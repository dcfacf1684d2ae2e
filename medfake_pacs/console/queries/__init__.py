"""What pages and API read from the tables."""
