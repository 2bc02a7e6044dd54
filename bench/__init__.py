"""Speed, side by side with stock kombu on one Redis. Not tests: they have no thresholds."""
