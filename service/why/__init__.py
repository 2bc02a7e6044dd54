"""Where a task is, or how it ended: `python -m service.why TASK_ID`. docs/why.md is the manual."""
