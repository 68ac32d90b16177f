"""The WSGI entry point."""

from ezstems import create_app

app = create_app()
