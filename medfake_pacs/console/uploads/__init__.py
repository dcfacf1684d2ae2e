"""Intake of uploaded files: streamed to disk, told apart by content, refused or recorded as one check."""
