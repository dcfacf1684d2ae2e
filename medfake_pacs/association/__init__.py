"""Associations: who may open one, what is accepted on it, and how its objects reach the spool."""
