"""Accounts, sessions, tokens, and what guards each request."""
