"""The gunicorn worker, which waits for slow clients without a thread, and what it does for gunicorn's master."""
