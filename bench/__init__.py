"""Speed and footprint beside stock kombu on one Redis, for `make bench`. Not tests: a slow figure fails nothing."""
