"""The website: landing page, registration and login, the account with its keys, the upload, the songs."""

from flask import Flask

from ezstems.web.site import (
    account,
    again,
    docs,
    exports,
    landing,
    login,
    manual,
    password,
    previews,
    register,
    songs,
    stems,
    upload,
    webhook,
)

# Forms are small; uploads have their own limits.
MAX_FORM_BYTES = 1024 * 1024


def init_app(app: Flask) -> None:
    """Add the pages."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    songs_pages = (upload, songs, stems, exports, again, previews)
    for page in (landing, register, login, password, account, *songs_pages, docs, manual, webhook):
        app.register_blueprint(page.blueprint)
