"""What machines ask: health and metrics."""
