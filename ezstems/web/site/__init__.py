"""The website: landing page, login, and the account with its keys."""

from flask import Flask

from ezstems.web.site import account, landing, login, notice

# Forms are small; uploads go through the API, which has its own limits.
MAX_FORM_BYTES = 1024 * 1024


def init_app(app: Flask) -> None:
    """Add the pages."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.add_template_global(notice.bundled_models)
    for page in (landing, login, account):
        app.register_blueprint(page.blueprint)
